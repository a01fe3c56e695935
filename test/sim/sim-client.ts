import type { Operation } from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import type { AcceptRequest, Operations, TargetWrite } from "#libs/operations";
import type { Json } from "#libs/records";
import type { History } from "./history.ts";
import type { SimClock, SimRandom } from "./sim-clock.ts";

const GIVE_UP_MS = 3_000;
const AGAIN_MS = 200;
const TRIES = 200;
const TARGETS = 3;

const KINDS = ["sim.create", "sim.create", "sim.change", "sim.remove", "sim.free", "sim.pair"];
const nameOf = (index: number) => `projects/sim/vms/vm-${index}`;

interface Wish {
  readonly request: AcceptRequest;
  readonly write: TargetWrite<Json>;
}

/** What a client sees of the world. */
export interface ClientWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly history: History;
  /** A process that is up, where there is one. */
  gateway(): { readonly operations: Operations } | undefined;
}

/** A client that asks for some things, each until it has an answer, and sometimes asks twice or changes its mind. */
export async function startClient(world: ClientWorld, index: number, requests: number): Promise<void> {
  for (let count = 0; count < requests; count++) {
    await world.clock.sleep(world.random.below(2_000));
    const wish = makeWish(world, `client-${index}-${count}`);
    const operation = await askUntilAnswered(world, wish);
    if (operation === undefined) continue;
    world.history.accepted(wish.request.requestId ?? "", operation.name);
    if (world.random.chance(0.3)) await askAgain(world, wish);
    if (world.random.chance(0.15)) await cancel(world, operation.name);
  }
}

function makeWish({ random }: ClientWorld, requestId: string): Wish {
  const index = random.below(TARGETS);
  const target = nameOf(index);
  const kind = KINDS[random.below(KINDS.length)] ?? "sim.free";
  const failsAt = random.chance(0.3) ? ["disks", "boot", "thaw", "stop", "once", "second"][random.below(6)] : "";
  const also = nameOf((index + 1) % TARGETS);
  const input = { failsAt, creates: kind === "sim.create", removes: kind === "sim.remove", also };
  const request = { kind, input, principal: "client", project: "sim", requestId };
  if (kind === "sim.free") return { request: { ...request, target: "" }, write: {} };
  const create = { uid: random.id("uid"), body: { by: "nobody" } };
  const write: TargetWrite<Json> = kind === "sim.create" ? { create, existsReason: "VM_EXISTS" } : {};
  return { request: { ...request, target }, write };
}

/** Undefined when it was refused. */
async function askUntilAnswered(world: ClientWorld, { request, write }: Wish): Promise<Operation | undefined> {
  for (let tries = 0; tries < TRIES; tries++) {
    const answer = await within(world, (operations) => operations.accept(request, write)).catch(asRefusal);
    if (answer === "refused") return undefined;
    if (answer !== undefined) return answer;
    await world.clock.sleep(AGAIN_MS);
  }
  return undefined;
}

/** Undefined for what is worth another try. */
function asRefusal(error: unknown): "refused" | undefined {
  if (!isStillpointError(error)) throw error;
  return ["UNAVAILABLE", "OUTCOME_UNKNOWN", "RECORD_CONFLICT"].includes(error.reason) ? undefined : "refused";
}

async function askAgain(world: ClientWorld, wish: Wish): Promise<void> {
  const again = await askUntilAnswered(world, wish);
  if (again !== undefined) world.history.accepted(wish.request.requestId ?? "", again.name);
}

async function cancel(world: ClientWorld, name: string): Promise<void> {
  await world.clock.sleep(world.random.below(500));
  try {
    await within(world, (operations) => operations.cancel(name.slice("operations/".length)));
  } catch (error) {
    if (!isStillpointError(error)) throw error;
  }
}

/** The answer of some process; undefined when none came in time. */
async function within<Answer>(
  world: ClientWorld,
  ask: (operations: Operations) => Promise<Answer>,
): Promise<Answer | undefined> {
  const gateway = world.gateway();
  if (gateway === undefined) return undefined;
  return await Promise.race([ask(gateway.operations), world.clock.sleep(GIVE_UP_MS).then(() => undefined)]);
}
