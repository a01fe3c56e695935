import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";

// sun_path holds 108 bytes with its final zero (unix(7)); one more for the name it is bound under.
const longestPath = 106;

export interface UnixSocket {
  /** Takes the socket's file away. */
  remove(): Promise<void>;
}

/**
 * Binds a Unix socket that only its owner can reach, at every moment: it is bound under another name, gets its mode,
 * and then takes its place, over a socket that nobody listens on any more. Fails when somebody does.
 */
export async function bindUnix(path: string, bind: (path: string) => Promise<unknown>): Promise<UnixSocket> {
  if (Buffer.byteLength(path) > longestPath) throw new Error(`${path} is too long for a socket: ${longestPath} bytes`);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (await answers(path)) throw new Error(`somebody listens on ${path} already`);
  const unready = `${path}~`;
  await rm(unready, { force: true });
  await bind(unready);
  await chmod(unready, 0o600);
  await rename(unready, path);
  return { remove: () => rm(path, { force: true }) };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
