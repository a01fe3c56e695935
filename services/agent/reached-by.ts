import { join } from "node:path";
import type { Principal } from "#libs/auth";
import type { RpcServer } from "#libs/rpc";
import { ownIdentity } from "#libs/tls";
import type { AgentConfig } from "./config.ts";

/** The services that have work for an agent; and whoever may open its socket. */
const callers = new Set(["svc/vm", "svc/container", "svc/checkpoint", "svc/scheduler", "svc/operation"]);

export const mayCall = ({ kind, name }: Principal): boolean => kind === "local" || callers.has(name);

/**
 * Listens where the configuration says, or on a socket in the agent's own folder; gives the address that services dial.
 * Fails when services would not believe that it is this host, or would not find it.
 */
export async function listen(server: RpcServer, config: AgentConfig): Promise<string> {
  const { AGENT_ADDRESS: wanted = `unix:${join(config.AGENT_DATA, "agent.sock")}`, AGENT_REACHED_AT: reachedAt } =
    config;
  const identity = ownIdentity();
  const host = `host/${config.AGENT_HOST_NAME}`;
  if (!wanted.startsWith("unix:") && identity !== undefined && identity.name !== host) {
    throw new Error(
      `the certificate is for ${identity.name}: make one with "stillpoint cert ${host.replace("/", " ")}"`,
    );
  }
  if (reachedAt === undefined && /^(0\.0\.0\.0|\[::\]):/.test(wanted)) {
    throw new Error(`AGENT_REACHED_AT is not set: services cannot dial ${wanted}`);
  }
  const listening = await server.listen(wanted);
  return reachedAt ?? listening;
}
