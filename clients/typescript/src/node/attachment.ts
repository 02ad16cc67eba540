/** An attachment with an input that is also a stream of Node. */
import { Writable } from "node:stream";
import { Attachment as CoreAttachment } from "../core/attachment.js";

// How much a stream of Node collects while a write waits. The client sends so much before it has an answer.
const WRITABLE_BYTES = 256 * 1024;

/** An attachment to a job: its output as an asynchronous iterable, and its input. */
export class Attachment extends CoreAttachment {
  /** Returns the input as a stream of Node, for example for `pipeline(process.stdin, attachment.writable())`. */
  writable(): Writable {
    return new Writable({
      highWaterMark: WRITABLE_BYTES,
      writev: (parts, done) =>
        void this.write(Buffer.concat(parts.map(({ chunk }) => chunk))).then(() => done(), done),
      final: (done) => void this.end().then(() => done(), done),
    });
  }
}
