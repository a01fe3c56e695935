import { join } from "node:path";
import { HostJoinDefinition, type JoinHostRequest, type JoinHostResponse } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { createRpcClient } from "#libs/rpc";
import { makeRequest, parseJoinToken } from "#libs/tls";
import { meet } from "./first-contact.ts";
import { filesIn, type HostFiles, keep, refuseJoined, withWorkFolder } from "./host-files.ts";

export interface Machine {
  /** host:port where machines join. */
  readonly address: string;
  readonly token: string;
  /** hosts/<host> */
  readonly host: string;
  readonly folder: string;
  /** Where its agent will listen. */
  readonly listen: string;
  /** Where services dial it; left out: its address on the way to the control plane, and the port of `listen`. */
  readonly reachedAt?: string | undefined;
  /** Take the place of what is there. */
  readonly force: boolean;
}

const attempts = 5;

/**
 * Has this machine join: a key that never leaves it, a certificate for it, and what its agent is to be configured with.
 * Nothing of it stays when it fails.
 */
export async function joinMachine({ address, token: text, host, force, ...machine }: Machine): Promise<HostFiles> {
  const token = parseJoinToken(text);
  if (token === undefined) throw new StillpointError("JOIN_TOKEN_INVALID", "that is no token");
  const files = filesIn(machine.folder);
  if (!force) await refuseJoined(files);
  const { authority, ownAddress } = await meet(address, token.authority);
  await withWorkFolder(files, async (work) => {
    const key = join(work, "key");
    const certificateRequest = await makeRequest(host, key);
    const answer = await ask(address, authority, { token: text, host, certificateRequest });
    const port = machine.listen.replace(/^.*:/, "");
    const bare = ownAddress.replace(/^::ffff:/, "");
    const own = bare.includes(":") ? `[${bare}]:${port}` : `${bare}:${port}`;
    const addresses = { AGENT_ADDRESS: machine.listen, AGENT_REACHED_AT: machine.reachedAt ?? own };
    const { certificate, settings } = answer;
    await keep(files, work, { key, certificate, authority, settings: { ...settings, ...addresses } });
  });
  return files;
}

/** An answer that got lost is given again for the same key. */
async function ask(address: string, authority: string, request: JoinHostRequest): Promise<JoinHostResponse> {
  const client = createRpcClient(HostJoinDefinition, address, { authority });
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await client.joinHost(request);
      } catch (error) {
        if (attempt === attempts || !isStillpointError(error, "UNAVAILABLE")) throw error;
      }
    }
  } finally {
    client.close();
  }
}
