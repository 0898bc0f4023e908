"""Cartesia's official client for Python against its stand-in: one line for each step that went as its types say."""

import base64
import os
import pathlib
import time

import cartesia

BASE_URL, TEXT = os.environ["BASE_URL"], os.environ["TEXT"]
SOUND = pathlib.Path(os.environ["SOUND"]).read_bytes()
# The client encrypts its socket for speech unless it is told another address; the loopback has no certificate.
WS_URL = BASE_URL.replace("http:", "ws:")
client = cartesia.Cartesia(
    api_key=os.environ["API_KEY"], base_url=BASE_URL, websocket_base_url=WS_URL, max_retries=0
)
VOICE = "a0e99841-438c-4a64-b679-ae501e7d6091"
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000}
USUAL = {"model_id": "sonic-3", "voice": {"mode": "id", "id": VOICE}, "output_format": RAW}


def done(step, seen):
    print(f"{step}: {seen}", flush=True)


def fails(step, call):
    try:
        seen = call()
    except Exception as error:  # noqa: BLE001
        done(step, type(error).__name__)
        return error
    raise AssertionError(f"{step} did not fail: {seen}")


wav = client.tts.generate(**{**USUAL, "output_format": {**RAW, "container": "wav"}}, transcript=TEXT).read()
assert wav[44:] == SOUND
done("bytes, wav", f"{len(wav)} bytes")
mp3 = {"container": "mp3", "sample_rate": 24_000, "bit_rate": 128_000}
packed = client.tts.generate(**{**USUAL, "output_format": mp3}, transcript=TEXT).read()
assert packed[:3] == b"ID3"
done("bytes, mp3", f"{len(packed)} bytes")

pieces = [base64.b64decode(event.data) for event in client.tts.generate_sse(**USUAL, transcript=TEXT) if event.type == "chunk"]
assert b"".join(pieces) == SOUND
done("events", f"{len(pieces)} chunks")


def heard(events):
    return b"".join(event.audio for event in events if event.type == "chunk")


def refused(step, context, status):
    last = list(context.receive())[-1]
    assert (last.type, last.status_code) == ("error", status), last.type
    done(step, status)


with client.tts.websocket_connect() as socket:
    one = socket.context(**USUAL, add_timestamps=True)
    other = socket.context(**USUAL)
    one.push(TEXT[:9])
    one.push("", flush=True)
    other.push(TEXT)
    one.push(TEXT[9:])
    one.no_more_inputs()
    other.no_more_inputs()
    events, others = list(one.receive()), list(other.receive())
    assert heard(events) == SOUND == heard(others)
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == ["chunk", "timestamps", "flush_done", "done"], kinds
    flushed = next(event for event in events if event.type == "flush_done")
    before = [event for event in events if event.type == "chunk" and event.flush_id == flushed.flush_id]
    assert heard(before) == SOUND[: 9 * 1_280]
    done("socket, two contexts", f"{len(events)} and {len(others)} events, {', '.join(kinds)}")

    failing = socket.context(**USUAL)
    failing.push("sdk-error")
    refused("socket, error", failing, 429)
    changing = socket.context(**USUAL)
    changing.push("Hello. ")
    changing.push("Hallo.", language="de")
    refused("socket, changed field", changing, 400)
    slow = socket.context(**USUAL)
    slow.push("sdk-slow " * 20)
    time.sleep(0.2)
    slow.cancel()
    late = socket.context(**USUAL)
    late.push("Late.")
    time.sleep(1.5)
    late.push("Too late.")
    refused("socket, cancelled and expired", late, 400)

texts = []
with client.stt.manual_finalize.websocket(model="ink-2", encoding="pcm_s16le", sample_rate=16_000) as stt:
    for _utterance in range(2):
        text = ""
        for at in range(0, len(SOUND), 3_200):
            stt.send_raw(SOUND[at : at + 3_200])
        stt.send("finalize")
        for event in stt:
            if event.type == "transcript" and event.is_final:
                text += event.text
            if event.type == "flush_done":
                break
        texts.append(text)
    stt.send("close")
    assert next(iter(stt)).type == "done"
assert texts == [TEXT, TEXT], texts
done("hearing, socket", texts)
whole = client.stt.transcribe(
    file=("turn.wav", wav), model="ink-whisper", language="en", timestamp_granularities=["word"]
)
assert whole.text == TEXT
assert len(whole.words) == len(TEXT.split(" "))
done("hearing, file", f'"{whole.text}", {whole.duration} s')

stranger = cartesia.Cartesia(api_key="sk_nobody", base_url=BASE_URL, max_retries=0)
error = fails("another key", lambda: stranger.tts.generate(**USUAL, transcript=TEXT))
assert error.status_code == 401
