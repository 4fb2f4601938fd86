//! A clock that is an hour off in one process: a few lines of C that answer for the system, loaded before it.

use std::path::Path;

const SOURCE: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int answer = (int)syscall(SYS_clock_gettime, clock, time);
    if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += AHEAD;
    return answer;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
";

/// What `LD_PRELOAD` has to say for a clock that is so many seconds ahead; `None` where there is no C compiler.
pub(crate) fn ahead(seconds: i64, folder: &Path) -> Option<String> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", &format!("-DAHEAD=({seconds})"), "-o"])
        .args([&library, &source])
        .output();
    match built {
        Ok(output) if output.status.success() => Some(library.to_str().unwrap().to_owned()),
        Ok(output) => panic!("cc: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("no process has a clock that is off: there is no cc ({error})");
            None
        }
    }
}
