import { once } from "node:events";
import { createServer } from "node:net";
import { StillpointError } from "#libs/errors";

/** A port on 127.0.0.1 that can be listened on: the wanted one, or any free one for 0. `option` is named in the error. */
export async function claimPort(wanted: number, option: string): Promise<number> {
  const server = createServer();
  server.listen(wanted, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new StillpointError("ARGUMENT_INVALID", `port ${wanted} on 127.0.0.1 cannot be used`, {
      cause,
      help: `Stop what listens there, or choose another with ${option}; 0 takes any free one.`,
    });
  }
  const address = server.address();
  server.close();
  await once(server, "close");
  return address !== null && typeof address === "object" ? address.port : wanted;
}
