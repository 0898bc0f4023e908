"""OpenAI's official client for Python against this service: one line for each step that went as it does with OpenAI."""

import asyncio
import json
import os
import pathlib
import tempfile

import openai

BASE_URL = os.environ["BASE_URL"]
client = openai.OpenAI(base_url=BASE_URL, api_key=os.environ["API_KEY"])
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def user(content):
    return [{"role": "user", "content": content}]


def done(step, seen):
    print(f"{step}: {seen}", flush=True)


def fails(step, kind, status, code, call):
    try:
        call()
    except kind as error:
        assert (error.status_code, error.code) == (status, code), f"{step}: {error}"
        done(step, f"{type(error).__name__}, {status} {code}, type {error.type}")
        return error
    raise AssertionError(f"{step} did not fail")


models = [model.id for model in client.models.list()]
assert models[0] == "auto"
done("models", f"{len(models)} of them")

plain = client.chat.completions.create(model="auto", max_tokens=200, messages=user("sdk-plain"))
assert plain.choices[0].message.content == "The sky is blue."
assert plain.usage.total_tokens == 244
done("plain", f'"{plain.choices[0].message.content}", {plain.usage.total_tokens} tokens')

raw = client.chat.completions.with_raw_response.create(
    model="auto", stream=True, stream_options={"include_usage": True}, max_tokens=200, messages=user("sdk-stream")
)
text, usage = "", None
for chunk in raw.parse():
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
    usage = chunk.usage or usage
assert text == "w0 w1 w2 w3 w4 "
assert (usage.prompt_tokens, usage.completion_tokens) == (20, 10)
done("stream", f'"{text}", usage {usage.total_tokens}, provider {raw.headers["x-provider"]}')


async def aborted():
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=os.environ["API_KEY"]) as client:
        stream = await client.chat.completions.create(model="auto", stream=True, messages=user("sdk-abort"))
        seen = 0
        async for _chunk in stream:
            seen += 1
            if seen == 3:
                break
        await stream.close()
        return seen


done("aborted", f"after {asyncio.run(aborted())} chunks")

whole = client.chat.completions.create(model="auto", tools=TOOLS, messages=user("sdk-tools-whole"))
call = whole.choices[0].message.tool_calls[0].function
assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
done("tool call", f"{call.name}({call.arguments})")

with client.chat.completions.stream(model="auto", tools=TOOLS, messages=user("sdk-tools-stream")) as stream:
    streamed = stream.get_final_completion().choices[0].message.tool_calls[0].function
assert json.loads(streamed.arguments) == {"city": "Paris"}
done("tool call, streamed", f"{streamed.name}({streamed.arguments})")

picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
answer = client.chat.completions.create(
    model="auto",
    response_format={"type": "json_object"},
    messages=user([{"type": "text", "text": "sdk-picture"}, picture]),
)
assert json.loads(answer.choices[0].message.content) == {"seen": "a cat"}
done("picture and JSON mode", answer.choices[0].message.content)

retried = client.chat.completions.create(model="auto", messages=user("sdk-retry"))
assert retried.choices[0].message.content == "At last."
done("retried by the client", f'"{retried.choices[0].message.content}"')


def keyed():
    return client.chat.completions.create(
        model="auto", max_tokens=300, messages=user("sdk-key"), extra_headers={"Idempotency-Key": "sdk-key"}
    )


assert keyed() == keyed()
done("the same Idempotency-Key twice", "one answer")


embedded = client.embeddings.create(model="@cf/baai/bge-base-en-v1.5", input=["sdk", "b"])
assert embedded.data[1].embedding == [0.5, -1.0, 1.0]
done("embeddings", f"{len(embedded.data)} of {len(embedded.data[0].embedding)} numbers")


SPOKEN = {"model": "auto", "voice": "alloy", "input": "sdk-speech", "response_format": "mp3"}
EXPECTED = b"".join(bytes([n]) * 1000 for n in range(10))
sound = client.audio.speech.create(**SPOKEN)
assert sound.content == EXPECTED
done("speech", f"{len(sound.content)} bytes, charged {sound.response.headers['x-credits-used']}")

with client.audio.speech.with_streaming_response.create(**SPOKEN) as response, tempfile.TemporaryDirectory() as folder:
    assert response.headers["content-type"] == "audio/mpeg"
    file = pathlib.Path(folder) / "speech.mp3"
    response.stream_to_file(file)
    assert file.read_bytes() == EXPECTED
done("speech, streamed to a file", f"{len(EXPECTED)} bytes")


def hear(prompt, response_format, **more):
    with open(os.environ["RECORDING"], "rb") as file:
        return client.audio.transcriptions.create(
            model="auto", file=file, prompt=prompt, response_format=response_format, **more
        )


assert hear("sdk-json", "json").text == "What was said."
verbose = hear("sdk-verbose", "verbose_json", timestamp_granularities=["segment"])
assert (verbose.duration, verbose.segments[0].end) == (1.5, 1.5)
assert hear("sdk-text", "text") == "What was said.\n"
done("transcripts", "json, verbose_json and text")


def ask(client, **more):
    return lambda: client.chat.completions.create(**{"model": "auto", "messages": user("sdk-none"), **more})


def once(key):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, max_retries=0)


fails("unknown model", openai.NotFoundError, 404, "model_not_found", ask(client, model="gpt-99"))
fails("wrong parameter", openai.BadRequestError, 400, "invalid_field", ask(client, n=99))
fails("wrong voice", openai.BadRequestError, 400, "invalid_field", lambda: client.audio.speech.create(**{**SPOKEN, "voice": ""}))
fails("wrong key", openai.AuthenticationError, 401, "token_invalid", ask(once("sk-nonsense")))
fails("no credit", openai.APIStatusError, 402, "insufficient_credits", ask(once(os.environ["POOR_KEY"])))
slow = once(os.environ["SLOW_KEY"])
ask(slow)()
ask(slow)()
limited = fails("too fast", openai.RateLimitError, 429, "rate_limited", ask(slow))
assert int(limited.response.headers["retry-after"]) >= 1
