import type { Heartbeat } from "#contracts/host/v1/agent";
import { integerProblems, labelProblems, type Problem } from "#libs/spec-checks";

const pebibyte = 2 ** 50;
const address = /^(unix:\/.{1,200}|[^:/\s]{1,253}:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5})$/i;
const maxCapabilities = 256;
const capability = /^[\x21-\x7e]{1,100}$/;

/** What no host can be, in an agent's words about itself; undefined when all of it may be true. */
export function nonsenseIn(heartbeat: Heartbeat): string | undefined {
  const { cpus, memoryBytes, diskBytes, labels, zone, capabilities, agentAddress } = heartbeat;
  const [problem] = [
    ...integerProblems("cpus", cpus, { min: 1, max: 65_536, says: "must be 1 to 65536" }),
    ...integerProblems("memory_bytes", memoryBytes, { min: 1, max: pebibyte, says: "must be 1 byte to 1 PiB" }),
    ...integerProblems("disk_bytes", diskBytes, { min: 1, max: 8 * pebibyte - 1, says: "must be 1 byte to 8 PiB" }),
    ...labelProblems("labels", labels),
    ...zoneProblems("zone", zone),
    ...check("agent_address", address.test(agentAddress), "must be host:port or unix:/path"),
    ...check("capabilities", areCapabilities(capabilities), "must be at most 256 printable words"),
  ];
  return problem && `${problem.field} ${problem.message}`;
}

/** A zone is what a label's value may be. */
export const zoneProblems = (field: string, zone: string): Problem[] =>
  labelProblems(field, { zone }).map(() => ({
    field,
    message: 'must be 0 to 63 letters, digits, ".", "_" and "-", no sign at its ends',
  }));

const check = (field: string, isRight: boolean, message: string): Problem[] => (isRight ? [] : [{ field, message }]);

const areCapabilities = (words: readonly string[]): boolean =>
  words.length <= maxCapabilities && words.every((word) => capability.test(word));
