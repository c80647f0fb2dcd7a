//! Calls on their way to the server: frames of the spool go, and are deleted when it says that it has them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::calls::{FramesSent, FramesTaken, SendFrames};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use spool::{Epoch, Frame, Seq};

use super::{line::Control, patience::Patience};
use crate::{calls::store::Store, clock, report};

/// How many bytes of frames one request carries, unless the first frame alone has more.
const BYTES_MAX: usize = 1024 * 1024;
/// How long the server may take until frames of many hosts are durable together.
const WAIT: Duration = Duration::from_secs(90);
/// How often is looked whether there is something to send.
const LOOK: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(60);

/// Brings calls to the server.
#[derive(Debug)]
pub struct Delivery {
    control: Arc<Control>,
    store: Arc<Store>,
    said: Mutex<Said>,
}

/// What is said of it to the operator.
#[derive(Debug, Default)]
struct Said {
    sent: u64,
    at: Option<jiff::Timestamp>,
    fault: Option<String>,
}

impl Delivery {
    /// From a spool to a server.
    pub fn new(control: Arc<Control>, store: Arc<Store>) -> Self {
        Self { control, store, said: Mutex::default() }
    }

    /// Sends what there is, until the future is dropped.
    pub async fn run(self: Arc<Self>, seed: u64) {
        let mut patience = Patience::new(seed.rotate_left(48), LONGEST);
        let mut next = Seq(self.store.told().watermark);
        loop {
            match self.send(next).await {
                Ok(Some(taken)) => {
                    patience.calm();
                    self.note(None);
                    next = taken;
                }
                Ok(None) => tokio::time::sleep(LOOK).await,
                Err(fault) => {
                    self.note(Some(fault));
                    tokio::time::sleep(patience.wait()).await;
                }
            }
        }
    }

    /// Sends what there is from a frame on, and answers with which one to go on; nothing where there was nothing.
    async fn send(&self, next: Seq) -> Result<Option<Seq>, String> {
        let told = self.store.told();
        let frames = self.store.read(next, BYTES_MAX).await?;
        let Some(first) = frames.first() else { return Ok(None) };
        let epoch = epoch(&told.epoch).ok_or("the spool's epoch cannot be read")?;
        let sent = FramesSent {
            epoch: told.epoch.clone(),
            // What is before it and not there any more was damaged, and the server shall not wait for it.
            oldest: if next.0 <= told.watermark { first.at.seq.0 } else { told.watermark },
            first: first.at.seq.0,
            calls_before: first.at.calls,
            frames: STANDARD.encode(bytes(epoch, &frames)),
        };
        let asked = self.control.client().wait::<SendFrames>(&(), &(), &sent, WAIT).await;
        let FramesTaken { next: taken } = asked.map_err(|error| error.to_string())?;
        if taken > told.watermark {
            self.store.acknowledge(Seq(taken.saturating_sub(1))).await?;
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.sent = taken;
            said.at = Some(clock::now().wall);
        }
        Ok(Some(Seq(taken.max(self.store.told().watermark))))
    }

    fn note(&self, fault: Option<String>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match (&fault, &said.fault) {
            (Some(fault), None) => {
                report(&format!("calls stay in the spool until this ends: {fault}"));
            }
            (None, Some(_)) => report("calls reach the server again"),
            _ => {}
        }
        said.fault = fault;
    }

    /// What is said of it to the operator.
    pub fn status(&self) -> Value {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "next": said.sent.max(self.store.told().watermark),
            "at": said.at.map(|at| at.to_string()),
            "fault": said.fault,
        })
    }
}

fn bytes(epoch: Epoch, frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.to_bytes(epoch)).collect()
}

/// What the spool prints as.
fn epoch(text: &str) -> Option<Epoch> {
    let mut bytes = [0; 16];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (text.len() == 32).then_some(Epoch(bytes))
}
