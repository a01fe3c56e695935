import { isStillpointError } from "#libs/errors";
import type { Operations } from "#libs/operations";
import type { SimClock, SimRandom } from "../sim-clock.ts";
import type { ClusterHistory } from "./cluster-history.ts";
import type { SimReplica } from "./sim-replica.ts";
import { acceptCreate, acceptMove, acceptRemoval } from "./sim-vms.ts";

export interface ClientWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly history: ClusterHistory;
  someReplica(): SimReplica | undefined;
}

const VMS = 4;
const GIVE_UP_MS = 8_000;
const TRIES = 200;

/** Makes VMs one after the other, and removes some of them when they are made. */
export async function startClient(world: ClientWorld, id: string): Promise<void> {
  for (let count = 0; count < VMS; count++) {
    await world.clock.sleep(world.random.below(6_000));
    const name = `projects/sim/vms/${id}-${count}`;
    const uid = `uid-${id}-${count}`;
    await untilAnswered(world, ({ operations }) => acceptCreate(operations, name, uid, `create-${uid}`));
    if (world.random.chance(0.4)) await move(world, name, uid);
    if (!world.random.chance(0.3)) continue;
    await world.clock.sleep(world.random.below(10_000));
    await untilAnswered(world, (replica) => acceptRemoval(replica, name, `delete-${uid}`));
  }
}

/** Asks for it to be moved, and at times takes that back. */
async function move(world: ClientWorld, name: string, uid: string): Promise<void> {
  const { clock, random } = world;
  await clock.sleep(random.below(8_000));
  let asked: string | undefined;
  await untilAnswered(world, async (replica) => {
    const operation = await acceptMove(replica, name, `move-${uid}`);
    asked = operation.name;
    return operation;
  });
  if (asked === undefined || !random.chance(0.2)) return;
  await clock.sleep(random.below(1_000));
  const id = asked.slice("operations/".length);
  // A replica that dies now never answers.
  void world.someReplica()?.operations.cancel(id).catch(refusal);
}

/** Asks one replica after the other. What is refused is let be. */
async function untilAnswered(
  world: ClientWorld,
  ask: (replica: SimReplica) => Promise<Awaited<ReturnType<Operations["accept"]>>>,
): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    const { clock } = world;
    const replica = world.someReplica();
    if (replica !== undefined) {
      const late = clock.sleep(GIVE_UP_MS).then(() => "again" as const);
      const answer = await Promise.race([ask(replica).catch(refusal), late]);
      if (answer !== "again") return;
    }
    await world.clock.sleep(500);
  }
}

function refusal(error: unknown): "again" | "refused" {
  if (!isStillpointError(error)) throw error;
  return ["UNAVAILABLE", "OUTCOME_UNKNOWN", "RECORD_CONFLICT"].includes(error.reason) ? "again" : "refused";
}
