import { globSync } from "node:fs";
import { join } from "node:path";
import type { ServiceImplementation } from "nice-grpc";
import type { CompatServiceDefinition } from "nice-grpc/lib/service-definitions/index.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GroupsDefinition } from "#contracts/checkpoint/v1/group";
import { SchedulesDefinition } from "#contracts/checkpoint/v1/schedule";
import { Heartbeat } from "#contracts/host/v1/agent";
import { AccountsDefinition } from "#contracts/registry/v1/accounts";
import { QuotasDefinition } from "#contracts/registry/v1/quotas";
import {
  HostsDefinition,
  PlaceRequest,
  type PlaceResult,
  SchedulerDefinition,
} from "#contracts/scheduler/v1/scheduler";
import { Vm } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { Lifecycle } from "#libs/lifecycle";
import { silentLogger as logger } from "#libs/logger";
import { createRecordStore, openNats, openStreams } from "#libs/records";
import { type CallScope, createRpcClient, RpcServer } from "#libs/rpc";
import { eventually, freePort, startNats, startRedis, temporaryFolder } from "#libs/testing";
import { readCheckpointConfig } from "../../services/checkpoint/config.ts";
import { startCheckpoint } from "../../services/checkpoint/service.ts";
import { readRegistryConfig } from "../../services/registry/config.ts";
import { startRegistry } from "../../services/registry/service.ts";
import { readSchedulerConfig } from "../../services/scheduler/config.ts";
import { startScheduler } from "../../services/scheduler/service.ts";
import { gib, heartbeat, requirements } from "../../services/scheduler/testing/hosts.ts";
import { repository } from "../harness/command.ts";
import { faultRuns } from "./fault-run.ts";

const run = faultRuns();

type Handler = (request: unknown, call: CallScope) => unknown;

/** Does what it is asked for, and loses the answer to the first attempt of every call, as a kill at the worst time does. */
class LosingServer extends RpcServer {
  override add<Definition extends CompatServiceDefinition & { readonly fullName: string }>(
    definition: Definition,
    implementation: ServiceImplementation<Definition, CallScope>,
  ): this {
    const losing = new Proxy<object>(implementation, {
      get: (handlers, name) => lose(Reflect.get(handlers, name) as Handler),
    });
    return super.add(definition, losing as typeof implementation);
  }
}

const lose =
  (handler: Handler): Handler =>
  (request, call) => {
    const answer = handler(request, call);
    if (!(answer instanceof Promise)) return answer;
    return answer.then((given: unknown) => {
      if (call.previousAttempts > 0) return given;
      run().fault("lost answer");
      throw new StillpointError("UNAVAILABLE", "the answer got lost");
    });
  };

/** Mutations that carry no request id. Those that are asked for below find out that they were done already… */
const known = [
  "checkpoint.v1.Groups/CreateGroup",
  "checkpoint.v1.Groups/DeleteGroup",
  "checkpoint.v1.Schedules/CreateSchedule",
  "checkpoint.v1.Schedules/DeleteSchedule",
  "registry.v1.Accounts/CreateAccount",
  "registry.v1.Accounts/DeleteAccount",
  "registry.v1.Accounts/RotateTokenKey",
  "registry.v1.Quotas/DeleteQuota",
  // By previousAttempts, as DeleteQuota.
  "registry.v1.Images/DeleteImage",
  "scheduler.v1.Hosts/ForgetHost",
];
/** …and these lead to the same a second time: they set a state, or name by their contents what is to be done once. */
const sameAgain = [
  "checkpoint.v1.Checkpoints/ProtectCheckpoint",
  "checkpoint.v1.Checkpoints/RenameCheckpoint",
  "checkpoint.v1.Groups/UpdateGroup",
  "checkpoint.v1.Projects/SetProjectCheckpointType",
  "checkpoint.v1.Schedules/UpdateSchedule",
  "container.v1.Containers/MarkContainerLost",
  "container.v1.Containers/UpdateContainer",
  "host.v1.HostAgent/Fence",
  "host.v1.HostAgent/InspectReadiness",
  "host.v1.HostAgent/KeepRecords",
  "operation.v1.Operations/CancelOperation",
  "registry.v1.Accounts/SetAccountRights",
  "registry.v1.Accounts/SetAccountSecret",
  "registry.v1.Images/TagImage",
  "registry.v1.Quotas/RecountQuota",
  "registry.v1.Quotas/SetQuota",
  "scheduler.v1.HostJoin/JoinHost",
  "scheduler.v1.Hosts/CordonHost",
  // A token that nobody has heard of runs out.
  "scheduler.v1.Hosts/CreateJoinToken",
  "scheduler.v1.Hosts/UncordonHost",
  "scheduler.v1.Hosts/UpdateHost",
  "scheduler.v1.Scheduler/Place",
  "scheduler.v1.Scheduler/PlaceBatch",
  "scheduler.v1.Scheduler/Release",
  "vm.v1.Vms/MarkVmLost",
  "vm.v1.Vms/SetCheckpointType",
  "vm.v1.Vms/SetDrillCommand",
  "vm.v1.Vms/UpdateVm",
];

describe("F2: a mutation whose answer got lost is repeated by the client library", () => {
  const closing = new AsyncDisposableStack();
  const parent = "projects/default";
  const member = `${parent}/vms/member`;
  let address: string;
  let beat: (host: string) => void;
  beforeAll(async () => {
    const nats = closing.use(await startNats());
    const redis = closing.use(await startRedis());
    const lifecycle = closing.adopt(new Lifecycle(), (it) => it.close());
    address = `127.0.0.1:${await freePort()}`;
    const env = {
      ...{ STILLPOINT_ADDRESS: address, SCHEDULER_TTL_MS: "500" },
      ...{ NATS_URL: nats.url, REDIS_URL: redis.url, LOG_LEVEL: "silent", REGISTRY_AUTH: "token" },
      ...{ REGISTRY_HTTP_ADDRESS: "127.0.0.1:0", REGISTRY_DATA: closing.use(temporaryFolder()).path },
    };
    const connection = closing.adopt(await openNats({ url: nats.url }), (it) => it.close());
    const vms = createRecordStore({ log: (await openStreams(connection)).rec, codec: Vm, clock, random });
    await vms.create(member, { uid: "vm-1", body: Vm.fromPartial({ name: member, uid: "vm-1" }) });
    const server = lifecycle.add("grpc", new LosingServer({ logger }), (it) => it.close());
    await startRegistry(readRegistryConfig(env), lifecycle, { server });
    await startCheckpoint(readCheckpointConfig(env), lifecycle, { server });
    await startScheduler(readSchedulerConfig(env), lifecycle, { server });
    await server.listen(address);
    beat = (host) => connection.publish(`hb.host.v1.${host}`, JSON.stringify(Heartbeat.toJSON(heartbeat(host))));
  });
  afterAll(() => closing.disposeAsync());

  test("groups and schedules are made once, and are gone when they are deleted", async () => {
    const groups = createRpcClient(GroupsDefinition, address);
    const name = `${parent}/groups/pair`;
    expect(await groups.createGroup({ parent, groupId: "pair", members: [member] })).toMatchObject({ name });
    const again = groups.createGroup({ parent, groupId: "pair", members: [member] });
    await expect(again).rejects.toMatchObject({ reason: "GROUP_EXISTS" });
    expect(await groups.deleteGroup({ name })).toMatchObject({ name });
    await expect(groups.getGroup({ name })).rejects.toMatchObject({ reason: "GROUP_NOT_FOUND" });

    const schedules = createRpcClient(SchedulesDefinition, address);
    const schedule = { cron: "0 3 * * *", vm: member, paused: true, retention: { keepLast: 1 } };
    const made = await schedules.createSchedule({ parent, scheduleId: "nightly", schedule });
    const second = schedules.createSchedule({ parent, scheduleId: "nightly", schedule });
    await expect(second).rejects.toMatchObject({ reason: "SCHEDULE_EXISTS" });
    await schedules.deleteSchedule({ name: made.name ?? "" });
    expect((await schedules.listSchedules({ parent })).schedules).toEqual([]);
  });

  test("accounts have the secret that was told, keys change once, and quotas are gone", async () => {
    const accounts = createRpcClient(AccountsDefinition, address);
    const name = "registry/accounts/robot";
    const rights = [{ repositories: "a/*", actions: ["REPOSITORY_ACTION_PULL" as const] }];
    const { secret } = await accounts.createAccount({ name, kind: "ACCOUNT_KIND_ROBOT", rights });
    expect(secret).not.toBe("");
    const again = accounts.createAccount({ name, kind: "ACCOUNT_KIND_ROBOT", rights });
    await expect(again).rejects.toMatchObject({ reason: "ACCOUNT_EXISTS" });
    expect((await accounts.rotateTokenKey({})).keyId).toMatch(/^key-/);
    await accounts.deleteAccount({ name });
    expect((await accounts.listAccounts({})).accounts).toEqual([]);

    const quotas = createRpcClient(QuotasDefinition, address);
    await quotas.setQuota({ name: "registry/quotas/a", limitBytes: 1_000 });
    await quotas.deleteQuota({ name: "registry/quotas/a" });
    expect((await quotas.listQuotas({})).quotas).toEqual([]);
  });

  test("workloads have one place each, and give it back", async () => {
    const scheduler = createRpcClient(SchedulerDefinition, address);
    const hosts = createRpcClient(HostsDefinition, address);
    const names = ["a", "b"];
    for (const host of names) beat(host);
    await eventually(async () => (await hosts.listHosts({})).hosts.length === names.length);
    const held = async () => {
      const { hosts: listed } = await hosts.listHosts({ withReservations: true });
      return listed.flatMap(({ name, reservations }) => reservations.map(({ uid }) => `${uid} ${name}`)).toSorted();
    };
    const one = wish("vm-1");
    const { host } = await scheduler.place(one);
    expect(await held()).toEqual([`vm-1 ${host}`]);
    const requests = [one, ...Array.from({ length: 20 }, (_, index) => wish(`vm-${index + 10}`))];
    const { results } = await scheduler.placeBatch({ requests });
    const told = results.map(({ result }, index) => `${requests[index]?.uid} ${placedOn(result)}`);
    expect(told[0]).toBe(`vm-1 ${host}`);
    expect(new Set(told.map((it) => it.split(" ")[1])).size).toBe(2);
    expect(await held()).toEqual(told.toSorted());
    await scheduler.release({ uid: "vm-1" });
    expect(await held()).toEqual(told.slice(1).toSorted());
  });

  test("every mutation in the contracts has a request id, or is known here", async () => {
    expect((await withoutRequestId()).toSorted()).toEqual([...known, ...sameAgain].toSorted());
  });
});

function wish(uid: string): PlaceRequest {
  const { hostPorts: _ports, notHosts: _none, ...needs } = requirements({ cpuMillis: 1_000, diskBytes: gib });
  return PlaceRequest.fromPartial({
    workload: `projects/default/vms/${uid}`,
    uid,
    operation: `operations/op-${uid}`,
    requirements: needs as object,
  });
}

const placedOn = (result: PlaceResult["result"]) => (result?.$case === "placed" ? result.value.host : "nowhere");

interface Method {
  readonly name: string;
  readonly requestType: { fromPartial(value: object): object };
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const isRead = /^(Get|List|Explain|Check|Preview|Plan)/;

/** Unary methods that are no reads and have no `request_id`. */
async function withoutRequestId(): Promise<string[]> {
  const files = globSync("libs/contracts/stillpoint/*/v1/*.ts", { cwd: repository });
  const modules = await Promise.all(files.map((file) => import(join(repository, file)) as Promise<object>));
  const definitions = modules.flatMap((module) =>
    Object.entries(module).flatMap(([name, it]) => (name.endsWith("Definition") && "methods" in it ? [it] : [])),
  ) as { readonly fullName: string; readonly methods: Record<string, Method> }[];
  return definitions.flatMap(({ fullName, methods }) =>
    Object.values(methods)
      .filter(({ requestStream, responseStream }) => !requestStream && !responseStream)
      .filter(({ name, requestType }) => !isRead.test(name) && !("requestId" in requestType.fromPartial({})))
      .map(({ name }) => `${fullName.replace("stillpoint.", "")}/${name}`),
  );
}
