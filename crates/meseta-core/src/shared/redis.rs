//! A Valkey or Redis as the shared store.
//!
//! Nothing that somebody else put there makes us read more than we would have written: values are read with `GETRANGE`,
//! and a group by a bounded `SRANDMEMBER`.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisError, RedisResult,
};

use crate::shared::SharedError;
use crate::shared::store::{Connect, Failure, MEMBERS, Store, VALUE_BYTES, is_member};

/// From the name of the host to the first answer.
const CONNECT: Duration = Duration::from_secs(2);

/// An answer that takes this many times longer than a request waits, but at least [`PATIENCE`], means that the server is
/// gone, or as good as.
const TOO_LONG: u32 = 4;
const PATIENCE: Duration = Duration::from_millis(200);

/// Names that are asked for at a time.
const BATCH: usize = 256;

/// The set of a group's members is kept this much longer than a member.
const GROUP: u32 = 12;

/// Longest message of an error, which a server may make as long as it likes.
const MESSAGE_CHARS: usize = 200;

/// Where the server is, and by what name we may come in.
pub(super) struct Address {
    client: Client,
    shown: String,
    password: Option<String>,
    config: AsyncConnectionConfig,
}

impl Address {
    pub fn parse(url: &str, timeout: Duration) -> Result<Address, SharedError> {
        let unusable = |why: &str| {
            SharedError(format!(
                "the URL of the shared store is not usable: {why}. \
                 Write redis://[user:password@]host[:port][/database], rediss:// for TLS, or redis+unix:///path."
            ))
        };
        // The client's own message may repeat the URL, so it is not handed on.
        let info = url.into_connection_info().map_err(|_| unusable("it is no URL of a Redis or Valkey"))?;
        let shown = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(unusable("it asks to trust any certificate; leave out `#insecure`"));
            }
            ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port} (TLS)"),
            ConnectionAddr::Unix(path) => path.display().to_string(),
            _ => return Err(unusable("this kind of address is not known")),
        };
        let password = info.redis_settings().password().map(str::to_owned);
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(|_| unusable("the client does not take it"))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some((timeout * TOO_LONG).max(PATIENCE)));
        Ok(Address { client, shown, password, config })
    }

    /// With a certificate authority of our own in the place of the machine's.
    #[cfg(test)]
    pub fn trusting(mut self, authority_pem: &str) -> Address {
        let root_cert = Some(authority_pem.as_bytes().to_vec());
        let certificates = redis::TlsCertificates { client_tls: None, root_cert };
        self.client =
            Client::build_with_tls(self.client.get_connection_info().clone(), certificates).unwrap();
        self
    }

    fn failure(&self, error: &RedisError) -> Failure {
        failure(error, self.password.as_deref())
    }
}

impl Connect for Address {
    type Store = Redis;

    async fn connect(&self) -> Result<Redis, Failure> {
        let connecting = async {
            let mut connection =
                self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
            // A server that is stopped still has connections accepted for it by its kernel.
            redis::cmd("PING").query_async::<()>(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => Ok(Redis { connection, password: self.password.clone() }),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => {
                Err(Failure { lost: true, message: format!("no answer within {} ms", CONNECT.as_millis()) })
            }
        }
    }

    fn address(&self) -> &str {
        &self.shown
    }
}

#[derive(Clone)]
pub(super) struct Redis {
    connection: MultiplexedConnection,
    password: Option<String>,
}

impl Redis {
    async fn one<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        command.query_async(&mut connection).await.map_err(|error| self.failure(&error))
    }

    /// The answer to each command; one that is refused does not spoil the others.
    async fn all(&self, pipeline: &mut Pipeline) -> Result<Vec<RedisResult<redis::Value>>, Failure> {
        let mut connection = self.connection.clone();
        pipeline.ignore_errors().query_async(&mut connection).await.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &RedisError) -> Failure {
        failure(error, self.password.as_deref())
    }
}

impl Store for Redis {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(sound(self.one(&range(name)).await?))
    }

    async fn put(&self, name: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        self.one(redis::cmd("SET").arg(name).arg(value).arg("PX").arg(milliseconds(kept))).await
    }

    async fn left(&self, names: &[String]) -> Result<Vec<Option<(Vec<u8>, Duration)>>, Failure> {
        let mut left = Vec::with_capacity(names.len());
        for names in names.chunks(BATCH) {
            let mut pipeline = Pipeline::with_capacity(names.len() * 2);
            for name in names {
                pipeline.add_command(range(name)).cmd("PTTL").arg(name);
            }
            let answers = self.all(&mut pipeline).await?;
            left.extend(answers.chunks(2).map(|pair| {
                let [Ok(value), Ok(kept)] = pair else { return None };
                let value = sound(Vec::from_redis_value(value.clone()).ok()?)?;
                let kept = u64::try_from(i64::from_redis_value(kept.clone()).ok()?).ok()?;
                Some((value, Duration::from_millis(kept)))
            }));
        }
        Ok(left)
    }

    async fn lease(&self, group: &str, member: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("SET")
            .arg(member_name(group, member))
            .arg(value)
            .arg("PX")
            .arg(milliseconds(kept))
            .cmd("SADD")
            .arg(group)
            .arg(member)
            .cmd("PEXPIRE")
            .arg(group)
            .arg(milliseconds(kept * GROUP));
        let answers = self.all(&mut pipeline).await?;
        match answers.iter().find_map(|answer| answer.as_ref().err()) {
            Some(error) => Err(self.failure(error)),
            None => Ok(()),
        }
    }

    async fn leases(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let found: Vec<Vec<u8>> = self.one(redis::cmd("SRANDMEMBER").arg(group).arg(MEMBERS)).await?;
        let found = found.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let members: Vec<String> = found.filter(|name| is_member(name)).collect();
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(members.len());
        for member in &members {
            pipeline.add_command(range(&member_name(group, member)));
        }
        let answers = self.all(&mut pipeline).await?;
        let mut leases = Vec::with_capacity(members.len());
        let mut gone = Vec::new();
        for (member, answer) in members.into_iter().zip(answers) {
            match answer.ok().and_then(|value| sound(Vec::from_redis_value(value).ok()?)) {
                Some(value) => leases.push((member, value)),
                None => gone.push(member),
            }
        }
        if !gone.is_empty() {
            // One that is alive after all puts itself back within a second.
            self.one::<()>(redis::cmd("SREM").arg(group).arg(gone)).await?;
        }
        Ok(leases)
    }
}

fn member_name(group: &str, member: &str) -> String {
    format!("{group}:{member}")
}

/// Reads a value, and one byte more than it may have.
fn range(name: &str) -> Cmd {
    let mut command = redis::cmd("GETRANGE");
    command.arg(name).arg(0).arg(VALUE_BYTES);
    command
}

/// A name that is not there reads as an empty value.
fn sound(value: Vec<u8>) -> Option<Vec<u8>> {
    (1..=VALUE_BYTES).contains(&value.len()).then_some(value)
}

fn milliseconds(kept: Duration) -> u64 {
    u64::try_from(kept.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40)
}

fn failure(error: &RedisError, password: Option<&str>) -> Failure {
    let mut message = error.to_string();
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        message = message.replace(password, "***");
    }
    let message = message.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARS).collect();
    // A primary that has become a replica takes no more writes: its name may lead to another one by now.
    let lost = error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY");
    Failure { lost, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(25);

    #[test]
    fn understands_addresses() {
        for (url, shown) in [
            ("redis://10.0.0.5", "10.0.0.5:6379"),
            ("redis://user:secret@cache.example:6380/2", "cache.example:6380"),
            ("rediss://:secret@cache.example", "cache.example:6379 (TLS)"),
            ("valkey://cache.example", "cache.example:6379"),
            ("redis+unix:///run/redis.sock?pass=secret", "/run/redis.sock"),
        ] {
            assert_eq!(Address::parse(url, WAIT).map(|address| address.shown), Ok(shown.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "",
            "http://user:secret@host",
            "redis://user:secret@host/no-number",
            "redis://user:secret@host:99999",
            "redis://user:secret@",
            "rediss://user:secret@host/#insecure",
            "secret",
        ] {
            let error = Address::parse(url, WAIT).map(|_| ()).unwrap_err();
            assert!(!error.0.contains("secret"), "{error}");
            assert!(error.0.contains("redis://[user:password@]host"), "{error}");
        }
    }

    #[test]
    fn an_error_shows_no_password_and_no_end_of_text() {
        let text = format!("tried hunter2 {}\n", "x".repeat(1000));
        let error = RedisError::from((redis::ErrorKind::Client, "refused", text));
        let failure = failure(&error, Some("hunter2"));
        assert!(
            !failure.message.contains("hunter2") && !failure.message.contains('\n'),
            "{}",
            failure.message
        );
        assert!(failure.message.chars().count() <= MESSAGE_CHARS);
    }
}
