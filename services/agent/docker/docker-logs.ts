import type Dockerode from "dockerode";
import type { LogOptions, LogPiece } from "../container-engine.ts";
import { getStream } from "./dial.ts";
import { askUnless, engineError } from "./engine-error.ts";
import { readFrames } from "./frames.ts";

const NANOS = 1_000_000_000n;

/** What a container printed (nothing when it is gone), with Docker's time before each piece taken off. */
export async function* readLogs(docker: Dockerode, uid: string, options: LogOptions): AsyncGenerator<LogPiece> {
  const { follow, tail, since, signal } = options;
  const what = `reading the logs of ${uid}`;
  const query = {
    ...{ follow, stdout: true, stderr: true, timestamps: true, tail: tail ?? "all" },
    ...(since !== undefined && { since: `${since / NANOS}.${String(since % NANOS).padStart(9, "0")}` }),
  };
  try {
    const path = `/containers/${uid}/logs`;
    for await (const { stream, bytes } of readFrames(
      (await askUnless([404], what, () => getStream(docker, { path, query, signal }))) ?? [],
    )) {
      const space = bytes.indexOf(0x20);
      yield { stream, time: bytes.toString("latin1", 0, space), bytes: bytes.subarray(space + 1) };
    }
  } catch (error) {
    if (!signal.aborted) throw engineError(what, error);
  }
}
