//! A wake-up with microsecond resolution. The time-out of `Poll::poll` is rounded up to whole
//! milliseconds, which is longer than most of what is measured here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

pub struct Timer {
    descriptor: OwnedFd,
    armed: Option<Instant>,
}

impl Timer {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor, armed: None })
    }

    /// Wakes the poll at `due`; a later arming replaces this one. The event is edge-triggered and each
    /// arming starts a new edge, so nobody needs to read the descriptor.
    pub fn arm(&mut self, due: Instant) -> io::Result<()> {
        let now = Instant::now();
        // What is already past has fired and must fire again.
        if self.armed == Some(due) && now < due {
            return Ok(());
        }
        // Zero would disarm.
        let wait = due.saturating_duration_since(now).max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        self.armed = Some(due);
        Ok(())
    }
}
