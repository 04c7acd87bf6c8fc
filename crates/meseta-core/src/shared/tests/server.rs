//! A real server of our own, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What must happen within this time, or the test fails. Nothing is expected to take as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    child: Option<Child>,
    folder: PathBuf,
    program: &'static str,
    /// Further arguments, such as those of TLS.
    arguments: Vec<String>,
}

impl Server {
    /// `None`, with a word why, on a machine without a server.
    pub fn start(name: &str) -> Option<Server> {
        Server::start_with(name, |_| Vec::new())
    }

    /// With further arguments, which may name files in the server's folder.
    pub fn start_with(name: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Option<Server> {
        let runs = |program: &str| {
            let tried = Command::new(program).arg("--version").output();
            tried.is_ok_and(|output| output.status.success())
        };
        let Some(program) = ["redis-server", "valkey-server"].into_iter().find(|name| runs(name)) else {
            eprintln!("SKIPPED {name}: neither redis-server nor valkey-server is installed");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("meseta-shared-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Server { child: None, arguments: arguments(&folder), folder, program };
        server.run();
        Some(server)
    }

    /// Starts the server, again after [`Server::kill`].
    pub fn run(&mut self) {
        let command = Command::new(self.program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--requirepass", "pass word"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(&self.folder)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(command.unwrap());
        until("the server listens", || std::os::unix::net::UnixStream::connect(self.socket()).is_ok());
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Sends a signal such as STOP or CONT.
    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}?pass=pass%20word", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for something to become true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
