//! A body that is kept on its way to the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::taps::{CHAT, WHOLE, tap};
use super::*;

/// Says its frames, and then nothing, or that it never ends.
struct Script {
    frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
    ends: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.frames.pop_front() {
            None if !self.ends => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = |frame: &Result<Frame<Bytes>, _>| {
            frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len)
        };
        SizeHint::with_exact(self.frames.iter().map(bytes).sum::<usize>() as u64)
    }
}

fn pieces(answer: &str, size: usize) -> VecDeque<Result<Frame<Bytes>, &'static str>> {
    answer.as_bytes().chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect()
}

type Told = Arc<Mutex<Vec<Result<Appended, Unkept>>>>;

fn kept(histories: &Histories, streamed: bool, script: Script) -> (KeptBody<Script>, Told) {
    let told = Told::default();
    let tell = told.clone();
    let tap = tap(histories, "a", meseta_wire::dialect::Dialect::OpenaiChat, streamed);
    (KeptBody::new(script, tap, move |kept| tell.lock().unwrap().push(kept)), told)
}

#[tokio::test]
async fn a_client_that_has_the_whole_answer_has_a_kept_turn() {
    for (streamed, answer) in [(true, CHAT), (false, WHOLE)] {
        for size in [1, 7, 50, answer.len()] {
            let folder = Folder::new();
            let histories = folder.histories();
            let script = Script { frames: pieces(answer, size), ends: true };
            let (mut body, told) = kept(&histories, streamed, script);
            assert_eq!(body.size_hint().exact(), Some(answer.len() as u64));
            let mut passed = Vec::new();
            while let Some(frame) = body.frame().await {
                passed.extend(frame.unwrap().into_data().unwrap());
                if passed.len() == answer.len() {
                    assert_eq!(read(&histories, "a").await, ["Weather?", "It rains."]);
                }
            }
            assert_eq!(passed, answer.as_bytes());
            assert!(matches!(told.lock().unwrap().as_slice(), [Ok(Appended::Done { behind: 0, .. })]));
        }
    }
}

#[tokio::test]
async fn a_stream_is_kept_with_its_last_word_though_its_connection_stays_open() {
    let folder = Folder::new();
    let histories = folder.histories();
    let script = Script { frames: pieces(CHAT, 20), ends: false };
    let (mut body, told) = kept(&histories, true, script);
    let mut passed = 0;
    while passed < CHAT.len() {
        passed += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_eq!(read(&histories, "a").await, ["Weather?", "It rains."]);
}

#[tokio::test]
async fn a_body_that_breaks_off_says_so_and_is_not_kept() {
    for (streamed, answer) in [(true, CHAT), (false, WHOLE)] {
        let folder = Folder::new();
        let histories = folder.histories();
        let mut frames = pieces(&answer[..60], 20);
        frames.push_back(Err("reset"));
        let (mut body, told) = kept(&histories, streamed, Script { frames, ends: true });
        let mut passed = Vec::new();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) => passed.extend(frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!((error, passed.as_slice()), ("reset", &answer.as_bytes()[..60]));
        assert!(body.frame().await.is_none());
        assert!(told.lock().unwrap().is_empty());
        assert_eq!(read(&histories, "a").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_client_that_leaves_keeps_nothing() {
    let folder = Folder::new();
    let histories = folder.histories();
    let (mut body, told) = kept(&histories, true, Script { frames: pieces(CHAT, 40), ends: true });
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(read(&histories, "a").await, Vec::<String>::new());
}

#[tokio::test]
async fn trailers_come_last() {
    let folder = Folder::new();
    let histories = folder.histories();
    let mut frames = pieces(WHOLE, 30);
    frames.push_back(Ok(Frame::trailers(HeaderMap::new())));
    let (body, told) = kept(&histories, false, Script { frames, ends: true });
    let collected = body.collect().await.unwrap();
    assert!(collected.trailers().is_some());
    assert_eq!(collected.to_bytes(), WHOLE.as_bytes());
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_eq!(read(&histories, "a").await.len(), 2);
}
