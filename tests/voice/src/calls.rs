//! Calls of a provider that speaks OpenAI's HTTP: one task each, which reports to its session.

use crate::session::{Told, ToldTo};
use actors::shared::Units;
use actors::voice::{CallEnd, CallId, Command, Input, Said};
use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What a call of the last stage is fed.
pub enum Fed {
    Part(i64, String),
    All,
}

/// A call under way.
pub struct Running {
    pub feed: mpsc::UnboundedSender<Fed>,
    pub paused: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

/// What calls are made with.
#[derive(Clone)]
pub struct Provider {
    pub base: String,
    pub http: reqwest::Client,
    pub runtime: Handle,
}

type Broken = ();

impl Provider {
    pub fn call(&self, call: CallId, input: Input, rate_hz: u32, to: ToldTo) -> Running {
        let (feed, fed) = mpsc::unbounded_channel();
        let (paused, pauses) = watch::channel(false);
        let provider = self.clone();
        let task = self.runtime.spawn(async move {
            let ended = match input {
                Input::Sound(pcm) => provider.listen(&pcm, rate_hz).await,
                Input::Messages { messages, .. } => provider.think(call, &messages, &to).await,
                Input::Parts => provider.speak(call, fed, pauses, &to).await,
            };
            let ended = ended.unwrap_or(CallEnd::Broken);
            let _ = to.send(Told::Command(Command::CallEnded { call, ended }));
        });
        Running { feed, paused, task }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Response, Broken> {
        let sent = self.http.post(format!("{}{path}", self.base)).json(body).send().await;
        sent.and_then(Response::error_for_status).map_err(drop)
    }

    async fn listen(&self, pcm: &[u8], rate_hz: u32) -> Result<CallEnd, Broken> {
        let call = self.http.post(format!("{}/audio/transcriptions", self.base)).body(wav(pcm, rate_hz));
        let heard: Value = call.send().await.map_err(drop)?.json().await.map_err(drop)?;
        let text = heard["text"].as_str().map(ToOwned::to_owned);
        let milliseconds = u64::try_from(pcm.len() / 2).unwrap_or(0) * 1_000 / u64::from(rate_hz);
        Ok(CallEnd::Done { text, units: Units { milliseconds, ..Units::default() } })
    }

    async fn think(&self, call: CallId, messages: &[Said], to: &ToldTo) -> Result<CallEnd, Broken> {
        let messages: Vec<Value> =
            messages.iter().map(|said| json!({"role": said.role, "content": said.text})).collect();
        let body = json!({"model": "any", "stream": true, "messages": messages});
        let mut stream = self.post("/chat/completions", &body).await?.bytes_stream();
        let (mut text, mut units) = (String::new(), Units::default());
        loop {
            let bytes = stream.next().await.ok_or(())?.map_err(drop)?;
            text.push_str(&String::from_utf8_lossy(&bytes));
            while let Some((line, rest)) = text.split_once("\n\n") {
                let data = line.trim_start_matches("data: ").to_owned();
                text = rest.to_owned();
                if data == "[DONE]" {
                    return Ok(CallEnd::Done { text: None, units });
                }
                let chunk: Value = serde_json::from_str(&data).map_err(drop)?;
                if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
                    let text = text.to_owned();
                    let _ = to.send(Told::Command(Command::Says { call, text }));
                }
                if let (Some(tokens_in), Some(tokens_out)) =
                    (chunk["usage"]["prompt_tokens"].as_u64(), chunk["usage"]["completion_tokens"].as_u64())
                {
                    units = Units::tokens(tokens_in, tokens_out);
                }
            }
        }
    }

    async fn speak(
        &self,
        call: CallId,
        mut fed: mpsc::UnboundedReceiver<Fed>,
        mut paused: watch::Receiver<bool>,
        to: &ToldTo,
    ) -> Result<CallEnd, Broken> {
        while let Some(Fed::Part(part, text)) = fed.recv().await {
            let body = json!({"model": "any", "voice": "any", "response_format": "pcm", "input": text});
            let mut stream = self.post("/audio/speech", &body).await?.bytes_stream();
            while let Some(bytes) = stream.next().await {
                let pcm = bytes.map_err(drop)?.to_vec();
                let _ = to.send(Told::Command(Command::Sounds { call, part, pcm }));
                paused.wait_for(|paused| !paused).await.map_err(drop)?;
            }
            let _ = to.send(Told::Command(Command::Spoken { call, part }));
        }
        Ok(CallEnd::Done { text: None, units: Units::default() })
    }
}

/// A WAV of one channel of 16 bits.
fn wav(pcm: &[u8], rate_hz: u32) -> Vec<u8> {
    let length = u32::try_from(pcm.len()).expect("a short utterance");
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + length).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend(1_u16.to_le_bytes());
    wav.extend(1_u16.to_le_bytes());
    wav.extend(rate_hz.to_le_bytes());
    wav.extend((rate_hz * 2).to_le_bytes());
    wav.extend(2_u16.to_le_bytes());
    wav.extend(16_u16.to_le_bytes());
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(pcm);
    wav
}
