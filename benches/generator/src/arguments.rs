//! The command line, read into settings.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::Api;

pub struct Mock {
    pub port: u16,
    /// Time between two tokens of a stream; zero sends the whole stream in one write.
    pub pace: Duration,
    pub tokens: usize,
    /// Size of a whole answer's body.
    pub body_bytes: usize,
}

pub struct Load {
    pub address: SocketAddr,
    pub path: String,
    pub api: Api,
    pub connections: usize,
    pub seconds: Duration,
    pub warmup: Duration,
    /// Requests per second of an open loop; a closed loop without it.
    pub rate: Option<f64>,
    pub stream: bool,
    /// Written into the prompt, where the mock reads it; the mock's own pace without it.
    pub pace_us: Option<u64>,
    /// How many tokens each stream must carry; not checked without it.
    pub tokens: Option<u32>,
    /// Size of a request's body.
    pub body_bytes: usize,
    pub model: String,
    pub headers: Vec<(String, String)>,
}

pub fn mock(words: impl Iterator<Item = String>) -> Result<Mock, String> {
    let mut settings = Mock { port: 0, pace: Duration::ZERO, tokens: 32, body_bytes: 1024 };
    each(words, |flag, value| {
        match flag {
            "--port" => settings.port = number(flag, &value()?)?,
            "--pace-us" => settings.pace = Duration::from_micros(number(flag, &value()?)?),
            "--tokens" => settings.tokens = number(flag, &value()?)?,
            "--body-bytes" => settings.body_bytes = number(flag, &value()?)?,
            _ => return Err(format!("mock: unknown flag {flag}")),
        }
        Ok(())
    })?;
    if settings.tokens == 0 {
        return Err("mock: --tokens must be at least 1".to_owned());
    }
    Ok(settings)
}

pub fn load(words: impl Iterator<Item = String>) -> Result<Load, String> {
    let mut target = None;
    let mut settings = Load {
        address: ([127, 0, 0, 1], 0).into(),
        path: String::new(),
        api: Api::Chat,
        connections: 1,
        seconds: Duration::from_secs(1),
        warmup: Duration::ZERO,
        rate: None,
        stream: false,
        pace_us: None,
        tokens: None,
        body_bytes: 1024,
        model: "bench".to_owned(),
        headers: Vec::new(),
    };
    each(words, |flag, value| {
        match flag {
            "--url" => target = Some(split_url(&value()?)?),
            "--api" => {
                let name = value()?;
                settings.api =
                    Api::named(&name).ok_or_else(|| format!("--api {name}: want {}", Api::NAMES))?;
            }
            "--connections" => settings.connections = number(flag, &value()?)?,
            "--seconds" => settings.seconds = seconds(flag, &value()?)?,
            "--warmup" => settings.warmup = seconds(flag, &value()?)?,
            "--rate" => settings.rate = Some(number(flag, &value()?)?),
            "--stream" => settings.stream = true,
            "--pace-us" => settings.pace_us = Some(number(flag, &value()?)?),
            "--tokens" => settings.tokens = Some(number(flag, &value()?)?),
            "--body-bytes" => settings.body_bytes = number(flag, &value()?)?,
            "--model" => settings.model = value()?,
            "--header" => {
                let text = value()?;
                let (name, value) =
                    text.split_once(':').ok_or_else(|| format!("--header {text}: want name:value"))?;
                settings.headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => return Err(format!("load: unknown flag {flag}")),
        }
        Ok(())
    })?;
    (settings.address, settings.path) = target.ok_or("load: --url is missing")?;
    if settings.connections == 0 || settings.seconds.is_zero() {
        return Err("load: --connections and --seconds must be more than zero".to_owned());
    }
    if settings.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err("load: --rate must be more than zero".to_owned());
    }
    Ok(settings)
}

fn each(
    mut words: impl Iterator<Item = String>,
    mut take: impl FnMut(&str, &mut dyn FnMut() -> Result<String, String>) -> Result<(), String>,
) -> Result<(), String> {
    while let Some(flag) = words.next() {
        take(&flag, &mut || words.next().ok_or_else(|| format!("{flag}: a value must follow")))?;
    }
    Ok(())
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} {text}: not a number that fits"))
}

fn seconds(flag: &str, text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(flag, text)?).map_err(|reason| format!("{flag} {text}: {reason}"))
}

/// Only a literal loopback address: the generator is never pointed at a machine of somebody's.
fn split_url(url: &str) -> Result<(SocketAddr, String), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("--url {url}: want http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: SocketAddr =
        authority.parse().map_err(|_| format!("--url {url}: want a numeric address and a port"))?;
    if !address.ip().is_loopback() {
        return Err(format!("--url {url}: only loopback addresses are loaded"));
    }
    Ok((address, format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split(' ').map(str::to_owned)
    }

    #[test]
    fn a_load_line_is_read() {
        let line = "--url http://127.0.0.1:80/v1/chat --connections 8 --seconds 0.5 --stream --header a:b --api messages";
        let settings = load(words(line)).ok().unwrap();
        assert_eq!(settings.address.port(), 80);
        assert_eq!(settings.path, "/v1/chat");
        assert_eq!(settings.api, Api::Messages);
        assert_eq!(settings.seconds, Duration::from_millis(500));
        assert_eq!(settings.headers, [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn mistakes_are_named() {
        let reason = |line| load(words(line)).err().unwrap();
        assert!(reason("--url http://192.0.2.1:80/").contains("loopback"));
        assert!(reason("--connections").contains("a value must follow"));
        assert!(reason("--api chats").contains("chat or messages"));
        assert!(reason("--seconds 1").contains("--url"));
        assert!(reason("--sped 1").contains("--sped"));
    }
}
