//! The client side: a closed loop over keep-alive connections, or an open loop at a constant rate.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::arguments;
use crate::client::{Client, Progress, State};
use crate::report::Report;
use crate::request;
use crate::timer::Timer;

const TIMER: Token = Token(usize::MAX);
/// New connections at a time that the server has not answered on. A handshake ends before the server accepts,
/// so only an answer shows that the connection has left the backlog, whose overflow costs whole seconds.
const MAX_FRESH: usize = 64;
/// How long the answers still open at the end may take before they count as unfinished.
const GRACE: Duration = Duration::from_secs(2);
/// The wait before a failed connection is tried again: an error must not become a busy loop.
const RETRY: Duration = Duration::from_millis(20);

pub fn run(settings: &arguments::Load) -> Result<(), String> {
    let report = Load::new(settings).and_then(Load::run).map_err(|reason| format!("load: {reason}"))?;
    println!("{}", report.json());
    Ok(())
}

struct Load<'a> {
    settings: &'a arguments::Load,
    request: Vec<u8>,
    poll: Poll,
    timer: Timer,
    clients: Vec<Option<Client>>,
    /// Places without a connection, and when to open one.
    vacant: VecDeque<(Instant, usize)>,
    fresh: usize,
    /// Places whose connection counts as fresh.
    is_fresh: Vec<bool>,
    /// Connections of an open loop that wait for a request, and requests that wait for a connection.
    idle: Vec<usize>,
    overdue: VecDeque<Instant>,
    next_arrival: Option<Instant>,
    report: Report,
    scratch: Vec<u8>,
}

impl<'a> Load<'a> {
    fn new(settings: &'a arguments::Load) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let start = Instant::now();
        let from = start + settings.warmup;
        Ok(Self {
            request: request::bytes(settings),
            poll,
            timer,
            clients: (0..settings.connections).map(|_| None).collect(),
            vacant: (0..settings.connections).map(|index| (start, index)).collect(),
            fresh: 0,
            is_fresh: vec![false; settings.connections],
            idle: Vec::new(),
            overdue: VecDeque::new(),
            next_arrival: settings.rate.map(|_| start),
            report: Report::new(from, from + settings.seconds),
            scratch: vec![0; 64 << 10],
            settings,
        })
    }

    fn run(mut self) -> io::Result<Report> {
        let mut events = Events::with_capacity(1024);
        let until = self.report.until;
        let mut counted = false;
        loop {
            let now = Instant::now();
            let over = now >= until;
            if over && !counted {
                counted = true;
                let open = self.clients.iter().flatten().filter(|client| is_waiting(client)).count();
                self.report.held(open);
            }
            if over && (now >= until + GRACE || !self.clients.iter().flatten().any(is_waiting)) {
                break;
            }
            if !over {
                self.open_connections(now);
                self.send_arrivals(now);
            }
            let wake = if over { until + GRACE } else { self.next_wake(until) };
            self.timer.arm(wake)?;
            if let Err(reason) = self.poll.poll(&mut events, None)
                && reason.kind() != ErrorKind::Interrupted
            {
                return Err(reason);
            }
            for event in &events {
                if event.token() != TIMER {
                    self.ready(event.token().0);
                }
            }
        }
        let now = Instant::now();
        for client in self.clients.iter().flatten().filter(|client| is_waiting(client)) {
            self.report.left_open(client.silence(now));
        }
        for _ in &self.overdue {
            self.report.left_open(None);
        }
        Ok(self.report)
    }

    fn next_wake(&self, until: Instant) -> Instant {
        let opening = self.vacant.front().filter(|_| self.fresh < MAX_FRESH).map(|(at, _)| *at);
        [Some(until), opening, self.next_arrival].into_iter().flatten().min().unwrap_or(until)
    }

    fn open_connections(&mut self, now: Instant) {
        while self.fresh < MAX_FRESH
            && let Some(&(at, index)) = self.vacant.front()
            && at <= now
        {
            self.vacant.pop_front();
            self.fresh += 1;
            self.is_fresh[index] = true;
            match self.connect(index) {
                Ok(client) => self.clients[index] = Some(client),
                Err(_) => self.lose(index, "connect".to_owned()),
            }
        }
    }

    fn connect(&self, index: usize) -> io::Result<Client> {
        let mut socket = TcpStream::connect(self.settings.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interest)?;
        Ok(Client::new(socket, self.settings.api, self.settings.stream))
    }

    /// Sends each request of the open loop that is due. Its latency counts from when it was due, so
    /// waiting for a free connection is part of it.
    fn send_arrivals(&mut self, now: Instant) {
        let (Some(rate), Some(mut due)) = (self.settings.rate, self.next_arrival) else { return };
        while due <= now {
            match self.idle.pop() {
                Some(index) => self.ask(index, due),
                None => self.overdue.push_back(due),
            }
            due += Duration::from_secs_f64(1.0 / rate);
        }
        self.next_arrival = Some(due);
    }

    fn ready(&mut self, index: usize) {
        let Some(client) = &mut self.clients[index] else { return };
        if client.state == State::Connecting {
            match client.connected() {
                Ok(true) => {
                    self.report.connected();
                    // In an open loop it may wait long for its first request.
                    if self.settings.rate.is_some() {
                        self.settle(index);
                    }
                    self.next(index);
                }
                Ok(false) => {}
                Err(_) => self.lose(index, "connect".to_owned()),
            }
            return;
        }
        let result = client
            .send(&self.request)
            .and_then(|()| client.read(&mut self.scratch, self.settings.tokens, &mut self.report));
        if client.heard {
            self.settle(index);
        }
        match result {
            Ok(Progress::More) => {}
            Ok(Progress::Complete { reusable: true }) => self.next(index),
            Ok(Progress::Complete { reusable: false } | Progress::Ended) => self.close(index, Duration::ZERO),
            Err(kind) => self.lose(index, kind),
        }
    }

    /// Lets another connection be opened: this one has been accepted, or is gone.
    fn settle(&mut self, index: usize) {
        if std::mem::take(&mut self.is_fresh[index]) {
            self.fresh -= 1;
        }
    }

    /// Gives a free connection its next request.
    fn next(&mut self, index: usize) {
        let now = Instant::now();
        if now >= self.report.until {
            return;
        }
        if self.settings.rate.is_none() {
            self.ask(index, now);
        } else if let Some(due) = self.overdue.pop_front() {
            self.ask(index, due);
        } else {
            self.idle.push(index);
        }
    }

    fn ask(&mut self, index: usize, since: Instant) {
        let Some(client) = &mut self.clients[index] else { return };
        if let Err(kind) = client.ask(&self.request, since) {
            self.lose(index, kind);
        }
    }

    fn lose(&mut self, index: usize, kind: String) {
        self.report.failed(kind);
        self.close(index, RETRY);
    }

    /// Closes a connection and opens another in its place after `wait`.
    fn close(&mut self, index: usize, wait: Duration) {
        self.settle(index);
        if let Some(mut client) = self.clients[index].take() {
            // Closing the socket deregisters it as well; a failure here changes nothing.
            let _ = self.poll.registry().deregister(client.socket());
        }
        self.idle.retain(|other| *other != index);
        let place = (Instant::now() + wait, index);
        if wait.is_zero() {
            self.vacant.push_front(place);
        } else {
            self.vacant.push_back(place);
        }
    }
}

fn is_waiting(client: &Client) -> bool {
    matches!(client.state, State::Waiting(_))
}
