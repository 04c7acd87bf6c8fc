//! Points in time as RFC 3339 writes them: `2026-01-31T09:30:00Z`, `2026-01-31T09:30:00.25+02:00`.

use std::time::{Duration, SystemTime};

/// `None` for anything else, and for moments before 1970.
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    // Nobody's limits need less than a second.
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let ahead = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let seconds = hours * 3_600 + minutes * 60;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    let since = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - ahead;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(since).ok()?))
}

fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut read = [0; N];
    for (number, width) in read.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(read)
}

/// Days since 1970 in the Gregorian calendar. A year is counted from March, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> Option<u64> {
        rfc3339(text).map(|moment| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn reads_dates_with_and_without_zones() {
        assert_eq!(unix("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(unix("2026-11-22T04:40:00.5Z"), Some(1_795_322_400));
        assert_eq!(unix("2026-11-22T06:40:00+02:00"), Some(1_795_322_400));
        assert_eq!(unix("2026-11-21T23:40:00-05:00"), Some(1_795_322_400));
    }

    #[test]
    fn agrees_with_http_dates() {
        for day in (0..40_000).step_by(17) {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3_661);
            let http = httpdate::fmt_http_date(moment);
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|name| http[8..11] == **name).unwrap() + 1;
            let text = format!("{}-{month:02}-{}T{}Z", &http[12..16], &http[5..7], &http[17..25]);
            assert_eq!(rfc3339(&text), Some(moment), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_moment() {
        for text in [
            "",
            "T",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2026-1-1T0:0:0Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T04:40:00+é",
            "2026-11-22T04:40:00Zx",
        ] {
            assert_eq!(unix(text), None, "{text}");
        }
    }
}
