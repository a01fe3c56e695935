import { type Checkpoint, CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import { GroupCheckpoint } from "#contracts/checkpoint/v1/group";
import { checkpointName, groupCheckpointName } from "#libs/names";
import type { JobContext, Step } from "#libs/operations";
import { writeGroupReceipt } from "../domain/group-receipt.ts";
import { sealReceipt } from "../domain/receipt.ts";
import { typeWords } from "../records/contract-words.ts";
import { sha256 } from "../records/digest.ts";
import { noCheckpoint } from "../requests/refusals.ts";
import type { GroupCreateInput, GroupDeps } from "./members.ts";

type Context = JobContext<GroupCreateInput>;

/** Makes the group's checkpoint visible, over those of its members. */
export function publishGroupStep(deps: GroupDeps): Step<GroupCreateInput> {
  const nameOf = ({ target, input }: Context) => groupCheckpointName(target, input.groupCheckpointUid);
  return {
    name: "publish-group",
    async run(context) {
      const name = nameOf(context);
      const stored = await deps.groupCheckpoints.get(name);
      const checkpoint = stored?.body ?? (await writeGroupCheckpoint(deps, context, name));
      const facts = factsOf(checkpoint, context.target);
      if (stored === undefined) {
        const events = [{ aggregate: "group", happened: "checkpoint_created", data: facts }];
        await deps.groupCheckpoints.create(name, { uid: checkpoint.uid, body: checkpoint, events });
      }
      return facts;
    },
    async undo(context) {
      const stored = await deps.groupCheckpoints.get(nameOf(context));
      if (stored === undefined) return;
      const data = { name: stored.name, group: context.target, why: "its creation was undone" };
      await deps.groupCheckpoints.remove(stored, [{ aggregate: "group", happened: "checkpoint_deleted", data }]);
    },
  };
}

async function writeGroupCheckpoint(deps: GroupDeps, context: Context, name: string): Promise<GroupCheckpoint> {
  const { groupCheckpointUid, displayName, asked, members } = context.input;
  const checkpoints = await Promise.all(
    members.map(({ vm, checkpointUid }) => readCheckpoint(deps, checkpointName(vm, checkpointUid))),
  );
  const taken = members.map(({ vm }, index) => ({ vm, ...checkpoints[index] }) as { vm: string } & Checkpoint);
  // The member that is the cause says so itself; the others name it.
  const weaker = taken.filter(({ fellBack }) => fellBack);
  const first = weaker.find(({ reason }) => reason !== "group.member_failed") ?? weaker[0];
  const detail = String(first?.receipt?.detail ?? "");
  const receipt = writeGroupReceipt(
    {
      ...{ groupCheckpointUid, group: context.target, requestedType: asked, fellBack: weaker.length > 0 },
      ...(first === undefined ? {} : { cause: { code: first.reason, detail: `${first.vm}: ${detail}` } }),
    },
    taken.map((it) => ({ vm: it.vm, host: it.host, checkpoint: it.name, receipt: it.receipt ?? {} })),
  );
  return GroupCheckpoint.fromPartial({
    ...{ name, uid: groupCheckpointUid, displayName, createTime: deps.clock.now() },
    members: taken.map(({ vm, name: checkpoint, kind, consistency }) => ({ vm, checkpoint, kind, consistency })),
    requestedType: typeWords[asked],
    fellBack: weaker.length > 0,
    reason: first?.reason ?? "",
    skewMs: Number(receipt.skewMs),
    receipt: sealReceipt(receipt, sha256),
  });
}

async function readCheckpoint({ store }: GroupDeps, name: string): Promise<Checkpoint> {
  const stored = await store.records.get(name);
  if (stored === undefined) throw noCheckpoint(name);
  return stored.body;
}

/** What a person wants to know, without the receipt. */
function factsOf(checkpoint: GroupCheckpoint, group: string) {
  const json = GroupCheckpoint.toJSON({ ...checkpoint, receipt: undefined }) as Record<string, unknown>;
  const isWhole = checkpoint.members.every(({ kind }) => kind === CheckpointKind.PRODUCTION);
  return { ...json, group, fellBack: checkpoint.fellBack, skewMs: checkpoint.skewMs, production: isWhole };
}
