import type { ExecVmRequest, ExecVmResponse, Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { RecordStore } from "#libs/records";
import { findWorkload, refuseUnless } from "#libs/workloads";
import { vmKind as kind } from "./vm-kind.ts";

export interface ExecDeps {
  readonly records: RecordStore<Vm>;
  readonly agents: HostAgents;
}

const defaultSeconds = 60;
const maxSeconds = 3_600;
/** The agent ends the command in time; this is for when the agent does not answer any more. */
const graceMs = 10_000;

/** Runs a command in the guest; the last message carries its exit code. */
export async function* execInVm(
  { records, agents }: ExecDeps,
  { name, command, stdin, timeoutSeconds: asked }: ExecVmRequest,
  signal: AbortSignal,
): AsyncGenerator<ExecVmResponse> {
  if (command.length === 0) throw new StillpointError("ARGUMENT_INVALID", "command is missing");
  if (asked < 0 || asked > maxSeconds) {
    throw new StillpointError("ARGUMENT_INVALID", `timeout_seconds must be 0 to ${maxSeconds}, not ${asked}`);
  }
  const stored = await findWorkload({ kind, records }, name);
  refuseUnless(kind, stored, "exec");
  const timeoutSeconds = asked === 0 ? defaultSeconds : asked;
  const { host, uid } = stored.body;
  const idleTimeoutMs = timeoutSeconds * 1_000 + graceMs;
  for await (const { stdout, stderr, exitCode } of agents.exec(
    { host, uid },
    { command, stdin, timeoutSeconds },
    { signal, idleTimeoutMs },
  )) {
    yield { stdout, stderr, exitCode };
  }
}
