//! The log: what it keeps, what it loses and counts, and what a reader can and cannot do.

mod support;

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use meseta_core::log::{Reader, Value};
use meseta_core::{Plane, StartError};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use support::log::{query, settings};
use support::{Folder, House, PATIENCE, ask, document, streamed, until};

fn logged(path: &str, change: impl FnOnce(&mut Json)) -> House {
    House::with(|document| {
        document["log"] = settings(path);
        change(document);
    })
}

fn integers(path: &str, sql: &str) -> Vec<i64> {
    query(path, sql)
        .into_iter()
        .flatten()
        .map(|value| match value {
            Value::Integer(number) => number,
            Value::Null => 0,
            other => panic!("{sql}: {other:?}"),
        })
        .collect()
}

fn count(path: &str) -> i64 {
    integers(path, "SELECT count(*) FROM requests")[0]
}

/// The rollups must say what the rows say, whatever happened.
fn check_sums(path: &str) {
    let rows = integers(
        path,
        "SELECT count(*), sum(code IS NOT NULL OR status >= 400), sum(usage_source IS 'estimated'), sum(input_tokens), \
         sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens), sum(duration_us), sum(request_bytes), \
         sum(response_bytes) FROM requests",
    );
    let rollups = integers(
        path,
        "SELECT sum(requests), sum(errors), sum(usage_missing), sum(input_tokens), sum(cached_tokens), \
         sum(output_tokens), sum(reasoning_tokens), sum(duration_us), sum(request_bytes), sum(response_bytes) \
         FROM rollups",
    );
    assert_eq!(rows, rollups);
    let groups = integers(
        path,
        "SELECT count(*) FROM (SELECT started_us / 3600000000 AS hour, listener, coalesce(provider, '') AS provider, \
         count(*) AS n FROM requests GROUP BY 1, 2, 3) AS a LEFT JOIN (SELECT hour, listener, provider, \
         sum(requests) AS n FROM rollups GROUP BY 1, 2, 3) AS b USING (hour, listener, provider) WHERE a.n IS NOT b.n",
    );
    assert_eq!(groups, [0], "groups that differ");
}

#[test]
fn every_row_is_there_after_a_stop() {
    let folder = Folder::new();
    let path = folder.file("deep/er/log.db");
    let house = logged(&path, |document| document["log"]["commit_ms"] = json!(200));
    let mut client = house.connect();
    for number in 0..500 {
        assert_eq!(client.chat(&ask("sim/echo", &format!("number {number}"))).status, 200);
    }
    assert!(house.plane.stop(PATIENCE));
    let log = house.plane.stats().log;
    assert_eq!((log.written, log.dropped, log.queued), (500, 0, 0));
    assert_eq!((count(&path), integers(&path, "SELECT count(*) FROM attempts")[0]), (500, 500));
    check_sums(&path);
    // What is written there is nobody else's business.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("deep/er")).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[test]
fn a_second_plane_goes_on_in_the_same_file() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    for round in 1..=3 {
        let house = logged(&path, |_| {});
        assert_eq!(house.chat(&ask("sim/echo", "x")).status, 200);
        assert!(house.plane.stop(PATIENCE));
        assert_eq!(count(&path), round);
    }
    check_sums(&path);
}

#[test]
fn rows_and_rollups_agree_whatever_happened() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |document| {
        document["targets"][0]["timeouts"] =
            json!({"connect_ms": 5000, "first_token_ms": 50, "idle_ms": 50, "total_ms": 5000});
        document["listeners"] = json!([support::listener("models", 0), support::listener("others", 0)]);
    });
    let other = house.plane.stats().listeners[1].address;
    let models = [
        "sim/echo",
        "sim/echo;cached=1;reasoning=4",
        "sim/echo;usage=none",
        "sim/echo;status=500",
        "sim/echo;status=429",
        "sim/echo;stall=1",
        "sim/echo;cut=rst@1",
        "sim/echo;cut=fin",
        "sim/echo;garbage=json",
        "sim/echo;garbage=http",
        "sim/echo;first=200ms",
        "sim/echo;error=sse@1",
        "sim/echo;body=2m",
        "sim/unknown",
        "nobody/here",
        "",
        "sim/any",
    ];
    let mut expected = 0;
    for round in 0..4 {
        for model in models {
            for request in [ask(model, "one two three"), streamed(model, "one two three")] {
                let mut client =
                    if round % 2 == 0 { house.connect() } else { support::http1::Client::connect(other) };
                client.post("/v1/chat/completions", "", request.to_string());
                client.try_reply();
                expected += 1;
            }
        }
        // Clients that leave, and what is no request for a model.
        let mut client = house.connect();
        client.post("/v1/chat/completions", "", streamed("sim/echo;pace=1ms;tokens=30", "x").to_string());
        client.head().expect("a head");
        drop(client);
        let mut client = house.connect();
        assert_eq!(client.get("/v1/models").status, 200);
        assert_eq!(client.get("/nowhere").status, 404);
        assert_eq!(client.get("/healthz").status, 200);
        client.post("/v1/chat/completions", "", "{");
        assert_eq!(client.reply().status, 400);
        expected += 4;
    }
    until("nothing is under way", || house.plane.stats().in_flight == 0);
    assert!(house.plane.stop(PATIENCE));
    assert_eq!(count(&path), expected);
    check_sums(&path);
    let odd = "SELECT count(*) FROM requests WHERE (code IS NULL) <> (blame IS NULL) OR duration_us < 0 OR status < 100 \
               OR attempts <> (SELECT count(*) FROM attempts WHERE request_id = id) OR started_us <= 0";
    assert_eq!(integers(&path, odd), [0]);
}

#[test]
fn a_full_queue_drops_counts_and_holds_nobody_up() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |document| {
        document["log"]["queue_records"] = json!(1);
        document["log"]["commit_ms"] = json!(500);
    });
    let mut client = house.connect();
    for _ in 0..200 {
        assert_eq!(client.chat(&ask("sim/echo", "on")).content(), "on");
    }
    assert!(house.plane.stop(PATIENCE));
    let log = house.plane.stats().log;
    assert!(log.dropped > 0 && log.written > 0, "{log:?}");
    assert_eq!((log.written + log.dropped, log.queued), (200, 0));
    assert_eq!(count(&path), i64::try_from(log.written).expect("a count"));
    check_sums(&path);
}

#[test]
fn a_writer_that_cannot_write_drops_and_counts() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |_| {});
    // Somebody else's table in the way: every insert fails from now on.
    let other = Connection::open(&path).expect("the file");
    other.execute_batch("ALTER TABLE requests RENAME TO elsewhere").expect("renamed");
    let mut client = house.connect();
    for _ in 0..20 {
        assert_eq!(client.chat(&ask("sim/echo", "on")).content(), "on");
    }
    until("all are counted", || house.plane.stats().log.dropped == 20);
    house.plane.stop(PATIENCE);
    assert_eq!(house.plane.stats().log.written, 0);
}

#[test]
fn a_path_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("file"), "in the way").expect("written");
    std::fs::write(folder.path().join("other.db"), "this is no database, and long enough to be seen as none")
        .expect("written");
    let newer = folder.file("newer.db");
    Connection::open(&newer).and_then(|it| it.pragma_update(None, "user_version", 99)).expect("a newer log");
    for path in [folder.file("file/log.db"), folder.file("other.db"), folder.file(""), newer] {
        let mut document = document("http://127.0.0.1:9/v1");
        document["log"] = settings(&path);
        let error =
            Plane::start(&document.to_string(), 1).err().unwrap_or_else(|| panic!("{path} was taken"));
        assert!(matches!(error, StartError::Log(_)), "{error}");
        assert!(error.to_string().contains(&path), "{error}");
        assert!(Reader::open(&path).is_err() || path.ends_with("newer.db"));
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).expect("still there"), "in the way");
    assert!(Reader::open(&folder.file("none.db")).is_err());
    assert!(!folder.path().join("none.db").exists(), "a reader made a file");
}

/// Makes `rows` copies of the newest request, `hours` older.
fn age(path: &str, rows: u32, hours: i64) {
    let log = Connection::open(path).expect("the file");
    log.execute_batch(&format!(
        "CREATE TEMP TABLE copy AS SELECT * FROM requests ORDER BY id DESC LIMIT 1;
         CREATE TEMP TABLE part AS SELECT * FROM attempts ORDER BY request_id DESC LIMIT 1;
         CREATE TEMP TABLE numbers AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {rows})
             SELECT n, (SELECT id FROM copy) - (({hours} * 3600000) << 21) - n AS at FROM n;
         CREATE TEMP TABLE many AS SELECT copy.*, at FROM numbers, copy; UPDATE many SET id = at;
         ALTER TABLE many DROP COLUMN at; INSERT INTO requests SELECT * FROM many;
         CREATE TEMP TABLE parts AS SELECT part.*, at FROM numbers, part; UPDATE parts SET request_id = at;
         ALTER TABLE parts DROP COLUMN at; INSERT INTO attempts SELECT * FROM parts;"
    ))
    .expect("older rows");
}

fn with_rows(path: &str, rows: u32, hours: i64) {
    let house = logged(path, |_| {});
    assert_eq!(house.chat(&ask("sim/echo", "x")).status, 200);
    assert!(house.plane.stop(PATIENCE));
    age(path, rows, hours);
    assert_eq!(count(path), i64::from(rows) + 1);
}

#[test]
fn rows_that_are_too_old_go() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    with_rows(&path, 5_000, 169);
    with_rows_kept(&path, 100);
    let before = std::fs::metadata(&path).expect("the file").len();
    let house = logged(&path, |_| {});
    until("the old rows are gone", || count(&path) == 102);
    assert_eq!(integers(&path, "SELECT count(*) FROM attempts"), [102]);
    assert_eq!(house.chat(&ask("sim/echo", "on")).status, 200);
    assert!(house.plane.stop(PATIENCE));
    assert_eq!(count(&path), 103);
    let after = std::fs::metadata(&path).expect("the file").len();
    assert!(after * 2 < before, "the file has {after} bytes of {before}");
    // Rollups outlive the rows.
    assert_eq!(integers(&path, "SELECT sum(requests) FROM rollups"), [3]);
}

/// Some more, young enough to stay.
fn with_rows_kept(path: &str, rows: u32) {
    let before = count(path);
    // No plane may look while the old rows are still wanted: these keep everything.
    let house = logged(path, |document| document["log"]["keep_hours"] = json!(u64::MAX));
    assert_eq!(house.chat(&ask("sim/echo", "x")).status, 200);
    assert!(house.plane.stop(PATIENCE));
    age(path, rows, 1);
    assert_eq!(count(path), before + 1 + i64::from(rows));
}

#[test]
fn the_oldest_rows_of_a_file_that_is_too_large_go() {
    const LIMIT: u64 = 2 * 1024 * 1024;
    let folder = Folder::new();
    let path = folder.file("log.db");
    with_rows(&path, 20_000, 1);
    let newest = integers(&path, "SELECT max(id) FROM requests");
    let before = std::fs::metadata(&path).expect("the file").len();
    assert!(before > 2 * LIMIT, "{before}");
    let house = logged(&path, |document| document["log"]["max_bytes"] = json!(LIMIT));
    let used = || {
        let pages = integers(
            &path,
            "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count",
        );
        u64::try_from(pages[0]).expect("pages") * 4096
    };
    until("the file is small enough", || used() <= LIMIT);
    assert!(house.plane.stop(PATIENCE));
    assert!(std::fs::metadata(&path).expect("the file").len() <= LIMIT);
    // No more was deleted than had to be, and from the old end.
    assert!(used() > LIMIT / 2 && count(&path) > 2_000);
    assert_eq!(integers(&path, "SELECT max(id) FROM requests"), newest);
}

#[test]
fn a_reader_reads_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |_| {});
    assert_eq!(house.chat(&ask("sim/echo", "x")).status, 200);
    until("the row is there", || count(&path) == 1);
    let mut reader = Reader::open(&path).expect("a log");
    for sql in [
        "INSERT INTO rollups SELECT * FROM rollups",
        "DELETE FROM requests",
        "UPDATE requests SET status = 200",
        "DROP TABLE requests",
        "CREATE TABLE mine (a)",
        "PRAGMA user_version = 7",
        "VACUUM",
        "BEGIN IMMEDIATE",
        "no sql",
        "SELECT nothing FROM nowhere",
    ] {
        assert!(reader.query(sql, &[]).is_err(), "{sql}");
    }
    let _ = reader.query("PRAGMA query_only = 0", &[]);
    assert!(reader.query("DELETE FROM requests", &[]).is_err());
    let given = [
        Value::Null,
        Value::Integer(-1),
        Value::Real(0.5),
        Value::Text("é".into()),
        Value::Blob(vec![0, 255]),
    ];
    assert_eq!(reader.query("SELECT ?1, ?2, ?3, ?4, ?5", &given).expect("a row"), [given.to_vec()]);
    assert!(reader.query("SELECT ?1, ?2", &given[..1]).is_err());
    assert_eq!(count(&path), 1);
    house.well("a reader");
}

#[test]
fn a_runaway_query_is_stopped() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |_| {});
    let mut reader = Reader::open(&path).expect("a log").with_longest(Duration::from_millis(50));
    let endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT sum(n) FROM n";
    let error = reader.query(endless, &[]).expect_err("it has no end");
    assert!(error.to_string().contains("interrupted"), "{error}");
    // The reader is good for another one.
    assert_eq!(reader.query("SELECT 1", &[]).expect("a row"), [vec![Value::Integer(1)]]);
    house.well("a runaway query");
}

#[test]
fn readers_and_the_writer_go_side_by_side() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = logged(&path, |_| {});
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = house.connect();
            for _ in 0..1_000 {
                assert_eq!(client.chat(&ask("sim/echo", "x")).status, 200);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reader = Reader::open(&path).expect("a log");
                let mut last = 0;
                until("all rows are there", || {
                    let sql = "SELECT (SELECT count(*) FROM requests), (SELECT sum(requests) FROM rollups)";
                    let row = reader.query(sql, &[]).unwrap_or_else(|error| panic!("{error}")).swap_remove(0);
                    let [Value::Integer(rows), sums] = &row[..] else { panic!("{row:?}") };
                    // Rows and rollups are of one transaction, and never go back.
                    assert!(
                        *sums == Value::Integer(*rows) || (*rows == 0 && *sums == Value::Null),
                        "{row:?}"
                    );
                    assert!(*rows >= last);
                    last = *rows;
                    last == 1_000
                });
            });
        }
    });
    assert!(house.plane.stop(PATIENCE));
    assert_eq!((count(&path), house.plane.stats().log.dropped), (1_000, 0));
}

const CHILD: &str = "MESETA_TEST_CHILD_LOG";

/// No test of its own: what the next one starts in a process of its own, and kills.
#[test]
fn child_that_serves_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let house = logged(&path, |_| {});
    let mut client = house.connect();
    loop {
        client.chat(&ask("sim/echo", "x"));
    }
}

#[test]
fn a_killed_process_loses_no_row_that_was_seen() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child_that_serves_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let (report, seen) = channel();
        let before = if round == 0 { 0 } else { count(&path) };
        let mut reader = None;
        until("rows are written", || {
            reader = reader.take().or_else(|| Reader::open(&path).ok());
            let rows = reader.as_mut().map(|reader| reader.query("SELECT id FROM requests ORDER BY id", &[]));
            let Some(Ok(rows)) = rows else { return false };
            let enough = i64::try_from(rows.len()).expect("a count") > before + 50;
            report.send(rows).expect("this test waits");
            enough
        });
        // SIGKILL: nothing in the child runs any more.
        child.kill().expect("killed");
        child.wait().expect("ended");
        drop((report, reader));
        let seen = seen.iter().last().expect("rows");
        let mut after = Reader::open(&path).expect("a log");
        let rows = after.query("SELECT id FROM requests ORDER BY id", &[]).expect("rows");
        assert_eq!(rows[..seen.len()], seen[..], "round {round}");
        assert_eq!(
            after.query("PRAGMA integrity_check", &[]).expect("a check")[0][0],
            Value::Text("ok".into())
        );
        check_sums(&path);
    }
    // And a plane goes on where the killed ones were.
    let before = count(&path);
    let house = logged(&path, |_| {});
    assert_eq!(house.chat(&ask("sim/echo", "x")).status, 200);
    assert!(house.plane.stop(PATIENCE));
    assert_eq!(count(&path), before + 1);
}
