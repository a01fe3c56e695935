import { expect, test } from "vitest";
import { eventually } from "#libs/testing";
import { startReplicatedCluster } from "../harness/replicated-cluster.ts";

test("the other replica answers while one is dead, and the dead one comes back", { timeout: 120_000 }, async () => {
  await using cluster = await startReplicatedCluster({ hosts: ["n1", "n2", "n3"] });
  const [victim, other] = cluster.replicas.operation;
  if (victim === undefined || other === undefined) throw new Error("there are no two replicas");
  expect(victim.address).not.toBe(other.address);
  victim.process.hold();
  victim.process.kill("SIGKILL");
  await victim.process.untilDead(0, 5_000);
  const answers = await Promise.all([1, 2, 3, 4].map(() => cluster.api.operations.listOperations({})));
  expect(answers).toHaveLength(4);
  victim.process.release();
  await eventually(() => victim.process.isAlive);
  const { hosts } = await cluster.api.hosts.listHosts({});
  expect(hosts.map(({ name }) => name).toSorted()).toEqual(["hosts/n1", "hosts/n2", "hosts/n3"]);
});
