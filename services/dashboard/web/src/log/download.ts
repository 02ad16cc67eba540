/** Collects output for a download. */
import type { Chunk } from "@jobworker/client/browser";
import type { Download } from "./messages.js";

// Blobs belong to the browser, which keeps large ones on the disk. The worker holds one part at a time.
const PART_BYTES = 4 * 1024 * 1024;

/** Returns the bytes of the chunks. `onProgress` gets the number of bytes so far. */
export async function collectDownload(
  chunks: AsyncIterable<Chunk>,
  onProgress: (bytes: number) => void,
): Promise<Download> {
  const parts: Blob[] = [];
  let pending: Uint8Array<ArrayBuffer>[] = [];
  let [size, bytes, missing] = [0, 0, 0];
  const flush = () => {
    parts.push(new Blob(pending));
    pending = [];
    size = 0;
    onProgress(bytes);
  };
  for await (const { data, truncated } of chunks) {
    missing += truncated ? truncated.toOffset - truncated.fromOffset : 0;
    pending.push(data as Uint8Array<ArrayBuffer>);
    size += data.length;
    bytes += data.length;
    if (size >= PART_BYTES) {
      flush();
    }
  }
  flush();
  return { blob: new Blob(parts, { type: "application/octet-stream" }), missing };
}
