//! A timer that is exact to some microseconds.

pub(super) use platform::Timer;

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use crate::base::time;

    /// A timerfd, which the runtime waits for as for a socket.
    pub(in crate::load::engine) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// One that is not set.
        #[expect(
            deprecated,
            reason = "`register`, which is to replace it, needs unsafe; an OwnedFd is its own file"
        )]
        pub(in crate::load::engine) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
        }

        /// Waits until a moment.
        pub(in crate::load::engine) async fn until(&mut self, at: Instant) -> io::Result<()> {
            let Some(wait) = at.checked_duration_since(time::instant()) else { return Ok(()) };
            // All zero would turn it off.
            let nanos = i64::from(wait.subsec_nanos()).max(1);
            let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
            let value = Timespec { tv_sec: seconds, tv_nsec: nanos };
            let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let setting = Itimerspec { it_interval: interval, it_value: value };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
            let mut ready = self.0.readable().await?;
            // Setting it again takes the old expiry back, so it need not be read.
            ready.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::time::Instant;

    /// The runtime's own timer: a millisecond fine.
    pub(in crate::load::engine) struct Timer;

    impl Timer {
        /// One that is not set.
        pub(in crate::load::engine) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits until a moment.
        pub(in crate::load::engine) async fn until(&mut self, at: Instant) -> io::Result<()> {
            tokio::time::sleep_until(at.into()).await;
            Ok(())
        }
    }
}
