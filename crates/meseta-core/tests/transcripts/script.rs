//! The text of a transcript, read.

/// A document that sections patch, and what is said.
pub struct Script {
    pub config: Option<String>,
    pub listener: Option<String>,
    pub target: Option<String>,
    pub exchanges: Vec<Exchange>,
}

#[derive(Default)]
pub struct Exchange {
    pub client_sends: Message,
    pub upstream_receives: Option<Message>,
    pub upstream_sends: Option<Message>,
    pub client_receives: Message,
    pub record: Vec<(String, String)>,
}

/// A first line, headers, and a body as it is written in the transcript.
#[derive(Default)]
pub struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub fn parse(text: &str) -> Script {
    let mut script = Script { config: None, listener: None, target: None, exchanges: Vec::new() };
    let mut sections = format!("\n{text}");
    sections = sections.replace("\n=== ", "\n\u{0}");
    for section in sections.split('\u{0}').skip(1) {
        let (name, content) = section.split_once('\n').unwrap_or((section, ""));
        let content = content.strip_suffix('\n').unwrap_or(content);
        match name {
            "config" => script.config = Some(content.to_owned()),
            "listener" => script.listener = Some(content.to_owned()),
            "target" => script.target = Some(content.to_owned()),
            "client sends" => {
                script.exchanges.push(Exchange { client_sends: message(content), ..Exchange::default() });
            }
            _ => {
                let exchange = script.exchanges.last_mut().expect("`client sends` comes first");
                match name {
                    "upstream receives" => exchange.upstream_receives = Some(message(content)),
                    "upstream sends" => exchange.upstream_sends = Some(message(content)),
                    "client receives" => exchange.client_receives = message(content),
                    "record" => {
                        exchange.record = content
                            .lines()
                            .filter_map(|line| line.split_once(' '))
                            .map(|(column, value)| (column.to_owned(), value.to_owned()))
                            .collect();
                    }
                    other => panic!("there is no section named {other}"),
                }
            }
        }
    }
    script
}

fn message(content: &str) -> Message {
    let (head, body) = content.split_once("\n\n").unwrap_or((content.trim_end_matches('\n'), ""));
    let mut lines = head.lines();
    let start = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    Message { start, headers, body: body.to_owned() }
}

/// What the upstream does with its connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Send(Vec<u8>),
    Fin,
    Rst,
    /// Says nothing more and keeps the connection open.
    Hang,
}

/// The body of `upstream sends` as packets and endings.
pub fn steps(body: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut packet = String::new();
    let mut lines = body.split('\n').peekable();
    while let Some(line) = lines.next() {
        let ending = match line {
            "~" => None,
            "~fin" => Some(Step::Fin),
            "~rst" => Some(Step::Rst),
            "~hang" => Some(Step::Hang),
            _ => {
                if let Some(line) = line.strip_suffix('\\') {
                    packet.push_str(line);
                } else {
                    packet.push_str(line);
                    if lines.peek().is_some() {
                        packet.push('\n');
                    }
                }
                continue;
            }
        };
        if !packet.is_empty() {
            steps.push(Step::Send(std::mem::take(&mut packet).into_bytes()));
        }
        steps.extend(ending);
    }
    if !packet.is_empty() {
        steps.push(Step::Send(packet.into_bytes()));
    }
    steps
}
