import { open } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { basename, dirname } from "node:path";

/** unix(7): sun_path holds 108 bytes with its final zero. */
const LONGEST_SOCKET_PATH = 107;

/** Connects to a unix socket, also to one whose path is too long for the system call. */
export async function connectUnix(path: string): Promise<Socket> {
  if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return connected(createConnection(path));
  await using folder = await open(dirname(path), "r");
  return await connected(createConnection(`/proc/self/fd/${folder.fd}/${basename(path)}`));
}

/** It has a listener for errors all the time: one that fails before its user has its own must not end this process. */
async function connected(socket: Socket): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  socket.once("connect", () => resolve(socket));
  socket.on("error", reject);
  return await promise;
}
