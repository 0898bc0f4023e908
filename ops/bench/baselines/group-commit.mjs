// Commands that reach an object together share one commit. Each is its own nested transaction, so one that fails
// takes none of the others with it.
export class GroupCommit {
  #storage; #waiting = []; #armed = false;

  constructor(storage) { this.#storage = storage; }

  run(command) {
    return new Promise((done, failed) => {
      this.#waiting.push({ command, done, failed });
      if (this.#armed) return;
      this.#armed = true;
      // The next turn: whatever has arrived by then is in it.
      setTimeout(() => this.#flush(), 0);
    });
  }

  #flush() {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#armed = false;
    for (const each of batch) {
      try { each.reply = this.#storage.transactionSync(each.command); } catch (error) { each.error = error; }
    }
    for (const { reply, error, done, failed } of batch) {
      if (error) failed(error); else done(reply);
    }
  }
}
