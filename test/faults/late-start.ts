import { expect } from "vitest";
import type { Workload } from "#contracts/host/v1/agent";
import { refusedStart } from "../../services/agent/testing/refused-start.ts";
import { testHost } from "../../services/agent/testing/test-host.ts";
import type { Cluster } from "../harness/cluster.ts";
import { untilAnswered } from "./patient-api.ts";

/**
 * Sends a host that is back the start of an operation which it heard of last, long after that has ended: the workload runs
 * elsewhere by now. The host has to ask for it, unless it was told already. Gives the workload as the host has it.
 */
export async function expectNoLateStart(
  { api }: Cluster,
  { host, uid }: { readonly host: string; readonly uid: string },
  action: "startVm" | "startContainer",
): Promise<Workload> {
  const { hosts } = await untilAnswered(() => api.hosts.listHosts({}));
  const agent = testHost(hosts.find(({ name }) => name === host)?.agentAddress ?? "");
  const { epoch } = await agent.client.getWorkload({ uid });
  const late = { uid, operation: "operations/late", epoch: epoch + 1 };
  await agent.client.fence(late);
  const refused = await refusedStart(() => agent.runStep(late, { $case: action, value: {} }));
  expect(refused).toBeOneOf(["START_UNCONFIRMED", "WORKLOAD_LEFT_BEHIND"]);
  return await agent.client.getWorkload({ uid });
}
