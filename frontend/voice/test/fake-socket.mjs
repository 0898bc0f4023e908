// A WebSocket that does what a test says. The newest one is `sockets.at(-1)`.
export function fakeSockets() {
  const sockets = [];
  class FakeWebSocket extends EventTarget {
    readyState = 0;
    sent = [];
    closed = false;

    constructor(url, protocols) {
      super();
      this.url = url;
      this.protocols = protocols;
      sockets.push(this);
    }

    send(message) {
      this.sent.push(message);
    }

    close() {
      this.closed = true;
      this.readyState = 2;
    }

    // What the other side does.

    opens() {
      this.readyState = 1;
      this.dispatchEvent(new Event('open'));
    }

    says(message) {
      const data = typeof message === 'object' && !(message instanceof ArrayBuffer) ? JSON.stringify(message) : message;
      this.dispatchEvent(Object.assign(new Event('message'), { data }));
    }

    breaks(code = 1006) {
      this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event('close'), { code }));
    }

    // Controls that were said, and the numbers of frames.
    controls() {
      return this.sent.filter((message) => typeof message === 'string' && message !== 'ping').map((text) => JSON.parse(text));
    }

    frames() {
      return this.sent.filter((message) => message instanceof ArrayBuffer).map((bytes) => new DataView(bytes).getUint32(4, true));
    }
  }
  return { sockets, FakeWebSocket };
}

export const welcome = (changes = {}) => ({
  type: 'welcome', session: 's1', epoch: 1, resume_token: 'token-1', window_ms: 120_000, up_next: 1, down_next: 1,
  heartbeat_ms: 15_000, ...changes,
});

export const resumed = (changes = {}) => ({
  type: 'resumed', epoch: 2, resume_token: 'token-2', up_next: 1, replay_from: 1, gap: false, ...changes,
});

export function sound(seq, { stream = 1, offset = 0, samples = [1, 2], flags = 0 } = {}) {
  const view = new DataView(new ArrayBuffer(12 + samples.length * 2));
  view.setUint8(0, 1);
  view.setUint8(1, flags);
  view.setUint16(2, stream, true);
  view.setUint32(4, seq, true);
  view.setUint32(8, offset, true);
  samples.forEach((sample, at) => view.setInt16(12 + at * 2, sample, true));
  return view.buffer;
}
