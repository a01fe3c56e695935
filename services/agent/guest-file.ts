import { GuestAgentError, type GuestCall } from "./qemu/guest-agent.ts";

const FILE_MS = 3_000;
const MOST_BYTES = 64 * 1024;

/**
 * The first 64 KiB of a file in the guest; undefined when it is not there. To be called in a turn of one's own.
 * @throws GuestAgentError when the agent may not read files
 */
export async function readGuestFile(call: GuestCall, path: string): Promise<string | undefined> {
  try {
    return await withFile(call, { path, mode: "r" }, async (handle) => {
      const read = { handle, count: MOST_BYTES };
      const { "buf-b64": bytes } = await call<{ "buf-b64": string }>("guest-file-read", read, FILE_MS);
      return Buffer.from(bytes, "base64").toString("utf8");
    });
  } catch (error) {
    if (error instanceof GuestAgentError && /no such file/i.test(error.message)) return undefined;
    throw error;
  }
}

/** Makes a file in the guest and leaves it empty. To be called in a turn of one's own. */
export async function emptyGuestFile(call: GuestCall, path: string): Promise<void> {
  await withFile(call, { path, mode: "w" }, async () => undefined);
}

async function withFile<Result>(
  call: GuestCall,
  file: { readonly path: string; readonly mode: "r" | "w" },
  use: (handle: number) => Promise<Result>,
): Promise<Result> {
  const handle = await call<number>("guest-file-open", file, FILE_MS);
  try {
    return await use(handle);
  } finally {
    await call("guest-file-close", { handle }, FILE_MS);
  }
}
