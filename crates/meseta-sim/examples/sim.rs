//! Runs the simulator from a shell, for load tests: `sim [PORT [SCRIPT]]`. It runs until it is killed.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "0".to_owned());
    let Ok(port) = port.parse() else {
        eprintln!("{port:?} is not a port. Usage: sim [PORT [SCRIPT]]");
        return ExitCode::from(2);
    };
    let script =
        match arguments.next().map(|path| std::fs::read_to_string(&path).map_err(|error| (path, error))) {
            Some(Err((path, error))) => {
                eprintln!("The script {path} cannot be read: {error}.");
                return ExitCode::FAILURE;
            }
            Some(Ok(text)) => Some(text),
            None => None,
        };
    match meseta_sim::Simulator::start("127.0.0.1", port, script.as_deref()) {
        Ok(simulator) => {
            println!("{}", simulator.url());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
