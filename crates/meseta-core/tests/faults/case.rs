//! The faults, and what a client must see of each.

use meseta_wire::dialect::Dialect;

/// The dialects that clients speak.
pub const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

pub struct Case {
    pub name: &'static str,
    pub fault: Fault,
    pub pool: Pool,
    /// What clients see of a whole and of a streamed answer, `None` where the fault cannot be.
    pub whole: Option<Expected>,
    pub streamed: Option<Expected>,
}

/// How the faulty target fails.
pub enum Fault {
    /// Directives of the simulator.
    Ordered(&'static str),
    /// The same, while it answers with a call of a tool.
    Calling(&'static str),
    /// Nobody listens where it should be.
    Absent,
    /// One of its two keys is refused with these directives.
    Key(&'static str),
}

/// What stands beside the faulty target.
#[derive(Clone, Copy, PartialEq)]
pub enum Pool {
    /// A healthy target of the same pool, asked after the faulty one; streams that break are gone on with.
    Resumed,
    /// The same, and the healthy one repeats what it is given as the beginning.
    Repeating(&'static str),
    /// The same, and streams that break end.
    Cut,
    /// A healthy target of the same pool, asked beside the faulty one when that is slow, and what it then does.
    Hedged(&'static str),
    /// Another pool, for this cause.
    Fallback(&'static str),
    /// Nothing: the faulty target has a second key.
    Keys,
}

/// What a client sees with something healthy there, and without.
pub struct Expected {
    pub beside: Seen,
    /// `None` where that is the same as before: a case about what stands beside has no other side.
    pub alone: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// The whole answer. How many targets were asked, if that is certain.
    Answer { attempts: Option<u32> },
    /// The whole answer, begun by the faulty target and ended by the healthy one.
    Resumed,
    /// An error with this status, which says these words.
    Error(u16, &'static str),
    /// A stream that ends in an error with these words.
    Broken(&'static str),
    /// One of the two: nothing had been said, so the plane may still answer with a status.
    Failed(&'static str),
}

impl Case {
    pub fn streams(&self) -> &'static [bool] {
        match (&self.whole, &self.streamed) {
            (Some(_), None) => &[false],
            (None, _) => &[true],
            (Some(_), Some(_)) => &[false, true],
        }
    }

    pub fn expected(&self, stream: bool, alone: bool) -> Option<Seen> {
        let expected = if stream { &self.streamed } else { &self.whole }.as_ref()?;
        if alone { expected.alone } else { Some(expected.beside) }
    }
}

const TWO: Seen = Seen::Answer { attempts: Some(2) };
const ONE: Seen = Seen::Answer { attempts: Some(1) };
const ANY: Seen = Seen::Answer { attempts: None };

#[expect(clippy::unnecessary_wraps, reason = "the tables below are full of options")]
const fn seen(beside: Seen, alone: Seen) -> Option<Expected> {
    Some(Expected { beside, alone: Some(alone) })
}

#[expect(clippy::unnecessary_wraps, reason = "the tables below are full of options")]
const fn only(beside: Seen) -> Option<Expected> {
    Some(Expected { beside, alone: None })
}

/// A fault that shows before any of the answer does.
const fn before(name: &'static str, directives: &'static str, alone: Seen) -> Case {
    Case {
        name,
        fault: Fault::Ordered(directives),
        pool: Pool::Resumed,
        whole: seen(TWO, alone),
        streamed: seen(TWO, alone),
    }
}

/// A fault that only a stream can have, before its first token.
const fn early(name: &'static str, directives: &'static str, alone: Seen) -> Case {
    Case { whole: None, ..before(name, directives, alone) }
}

/// A fault in the middle of a stream that is gone on with.
const fn resumed(name: &'static str, directives: &'static str, alone: &'static str) -> Case {
    Case {
        name,
        fault: Fault::Ordered(directives),
        pool: Pool::Resumed,
        whole: None,
        streamed: seen(Seen::Resumed, Seen::Broken(alone)),
    }
}

/// The same where streams are not gone on with.
const fn cut(name: &'static str, directives: &'static str, words: &'static str) -> Case {
    Case {
        name,
        fault: Fault::Ordered(directives),
        pool: Pool::Cut,
        whole: None,
        streamed: only(Seen::Broken(words)),
    }
}

/// A target that is slow to begin.
const fn slow(name: &'static str, directives: &'static str, second: &'static str) -> Case {
    Case {
        name,
        fault: Fault::Ordered(directives),
        pool: Pool::Hedged(second),
        whole: only(TWO),
        streamed: only(TWO),
    }
}

/// A refusal that one cause of the fallback is for.
const fn falls(name: &'static str, directives: &'static str, cause: &'static str, alone: Seen) -> Case {
    Case {
        name,
        fault: Fault::Ordered(directives),
        pool: Pool::Fallback(cause),
        whole: seen(ANY, alone),
        streamed: seen(ANY, alone),
    }
}

const LATE: Seen = Seen::Error(504, "upstream.first_token_timeout");
const TOLD: &str = "The simulator was told to answer";

/// What the simulator answers echoes the request: "one two three four five six seven", seven tokens.
pub const CASES: &[Case] = &[
    before("500", "status=500", Seen::Error(500, TOLD)),
    before("502", "status=502", Seen::Error(502, TOLD)),
    before("503", "status=503", Seen::Error(503, TOLD)),
    before("504", "status=504", Seen::Error(504, TOLD)),
    before("408", "status=408", Seen::Error(408, TOLD)),
    before("404, a model that is not there", "status=404", Seen::Error(404, TOLD)),
    before("429 with Retry-After", "status=429;retry-after=7", Seen::Error(429, TOLD)),
    before(
        "429 with nothing left in the headers",
        "status=429;limit=requests:0/7s,tokens:0/7s",
        Seen::Error(429, TOLD),
    ),
    before("Overloaded, in the provider's words", "refuse=overloaded", Seen::Error(0, "verloaded")),
    before("Quota used up", "refuse=quota", Seen::Error(0, "")),
    before("Wrong key", "refuse=key", Seen::Error(401, "")),
    Case {
        fault: Fault::Absent,
        ..before("Connection refused", "", Seen::Error(502, "upstream.connect_failed"))
    },
    before("Connection closed before the head", "drop=fin", Seen::Error(502, "upstream.")),
    before("Connection reset before the head", "drop=rst", Seen::Error(502, "upstream.")),
    before("No head", "first=10m", LATE),
    before("A head and no body", "head_then=10m", LATE),
    before("No HTTP", "garbage=http", Seen::Error(502, "upstream.protocol_error")),
    before("Half a JSON document", "garbage=json", Seen::Error(502, "upstream.")),
    before("Closed right after the head", "cut=fin", Seen::Error(502, "upstream.cut")),
    before("Reset right after the head", "cut=rst", Seen::Error(502, "upstream.cut")),
    Case {
        streamed: None,
        ..before("Closed in the middle of a whole answer", "cut=fin@20", Seen::Error(502, "upstream.cut"))
    },
    Case {
        streamed: None,
        ..before("Reset in the middle of a whole answer", "cut=rst@20", Seen::Error(502, "upstream.cut"))
    },
    Case {
        streamed: None,
        ..before(
            "Silence in the middle of a whole answer",
            "stall=20",
            Seen::Error(504, "upstream.idle_timeout"),
        )
    },
    early("Events that make no sense", "garbage=sse", Seen::Failed("upstream.invalid_answer")),
    early("An error as the first event", "error=sse", Seen::Failed("")),
    early("An error after the preamble", "error=sse@preamble", Seen::Failed("")),
    early("Closed after the preamble", "cut=fin@preamble", Seen::Failed("upstream.cut")),
    early("Reset after the preamble", "cut=rst@preamble", Seen::Failed("upstream.cut")),
    early("Silence after the preamble", "stall=preamble", Seen::Failed("upstream.")),
    resumed("Closed in the middle of a stream", "cut=fin@3", "upstream.cut"),
    resumed("Reset in the middle of a stream", "cut=rst@3;pace=5ms", "upstream.cut"),
    resumed("Closed in the middle of an event", "cut=frame@3", "upstream.cut"),
    resumed("An error in the middle of a stream", "error=sse@3", ""),
    resumed("Overload in the middle of a stream", "refuse=overloaded;error=sse@3", "verloaded"),
    resumed("Silence in the middle of a stream", "stall=3", "upstream.idle_timeout"),
    resumed("Closed between the last token and the end", "cut=fin@7", "upstream.cut"),
    Case { streamed: seen(ONE, ONE), ..resumed("Closed before the last event", "cut=fin@last", "") },
    Case {
        pool: Pool::Repeating("overlap"),
        streamed: only(Seen::Resumed),
        ..resumed("The next target repeats the last words", "cut=fin@5", "")
    },
    Case {
        pool: Pool::Repeating("restart"),
        streamed: only(Seen::Resumed),
        ..resumed("The next target begins anew", "cut=fin@5", "")
    },
    cut("Closed in the middle of a stream, resume off", "cut=fin@3", "upstream.cut"),
    cut("An error in the middle of a stream, resume off", "error=sse@3", ""),
    cut("Silence in the middle of a stream, resume off", "stall=3", "upstream.idle_timeout"),
    Case {
        fault: Fault::Calling("cut=fin@3"),
        streamed: only(Seen::Broken("upstream.cut")),
        ..resumed("Closed inside a tool call", "", "")
    },
    Case {
        fault: Fault::Calling("cut=fin@last"),
        streamed: only(ONE),
        ..resumed("Closed behind a finished tool call", "", "")
    },
    Case {
        whole: seen(TWO, LATE),
        streamed: seen(TWO, LATE),
        ..slow("No head, another target asked beside it", "first=10m", "")
    },
    Case {
        whole: None,
        streamed: seen(TWO, Seen::Failed("upstream.first_token_timeout")),
        ..slow("No first token, another target asked beside it", "preamble_then=10m", "")
    },
    slow("Slower than the target asked beside it", "first=600ms", ""),
    slow("Faster than the target asked beside it", "first=600ms", "first=10m"),
    slow("Slow, and the target asked beside it fails", "first=600ms", "status=500"),
    slow("Slow and fails, and the target asked beside it is slow", "first=100ms;status=500", "first=300ms"),
    falls(
        "Too long for the model, a longer one as fallback",
        "refuse=context",
        "context_length",
        Seen::Error(400, ""),
    ),
    falls("Not allowed, another model as fallback", "refuse=policy", "content_policy", Seen::Error(400, "")),
    falls("429, another pool as fallback", "status=429", "rate_limit", Seen::Error(429, TOLD)),
    falls("500, another pool as fallback", "status=500", "error", Seen::Error(500, TOLD)),
    falls("No head, another pool as fallback", "first=10m", "timeout", LATE),
    Case {
        whole: only(Seen::Error(400, TOLD)),
        streamed: only(Seen::Error(400, TOLD)),
        ..falls("400, the client's own mistake", "status=400", "error", ANY)
    },
    Case {
        whole: only(Seen::Error(500, TOLD)),
        streamed: only(Seen::Error(500, TOLD)),
        ..falls("500, with a fallback for another cause", "status=500", "context_length", ANY)
    },
    Case {
        fault: Fault::Key("status=429"),
        pool: Pool::Keys,
        whole: only(ANY),
        streamed: only(ANY),
        ..before("429 for one of two keys", "", ANY)
    },
    Case {
        fault: Fault::Key("refuse=quota"),
        pool: Pool::Keys,
        whole: only(ANY),
        streamed: only(ANY),
        ..before("Quota of one of two keys used up", "", ANY)
    },
    Case {
        fault: Fault::Key("refuse=key"),
        pool: Pool::Keys,
        whole: only(ANY),
        streamed: only(ANY),
        ..before("One of two keys refused", "", ANY)
    },
];
