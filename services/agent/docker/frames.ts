export interface Frame {
  readonly stream: "stdout" | "stderr";
  readonly bytes: Buffer;
}

const HEADER_BYTES = 8;
const STDERR = 2;

/** Docker's stream of two outputs: [1 or 2, 0, 0, 0, length (4 bytes, big endian)] before each piece. */
export async function* readFrames(source: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Frame> {
  let waiting: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    for (let length = frameLength(waiting); length <= waiting.length; length = frameLength(waiting)) {
      const stream = waiting[0] === STDERR ? "stderr" : "stdout";
      yield { stream, bytes: waiting.subarray(HEADER_BYTES, length) };
      waiting = waiting.subarray(length);
    }
  }
}

/** With its header; endless as long as that has not come. */
function frameLength(bytes: Buffer): number {
  return bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt32BE(4);
}

/** JSON documents, one a line. */
export async function* readJsonLines(source: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  let waiting = "";
  for await (const chunk of source) {
    const lines = `${waiting}${decoder.decode(chunk, { stream: true })}`.split("\n");
    waiting = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line);
  }
  if (waiting.trim() !== "") yield JSON.parse(waiting);
}
