import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import type { Observation } from "#contracts/host/v1/agent";
import { checkpointName } from "#libs/names";
import type { RecordChange, StoredRecord } from "#libs/records";
import { foldDigests, sealReceipt } from "../domain/receipt.ts";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { sha256 } from "./digest.ts";

/**
 * Takes digests that a host computed after a checkpoint was taken into its receipt. False while the checkpoint has no
 * record yet; true when there is nothing more to do, as for every other kind of observation.
 */
export async function takeDigests(store: CheckpointStore, observation: Observation): Promise<boolean> {
  const { happened, uid, workload } = observation;
  if (happened?.$case !== "digests") return true;
  const { checkpointUid, digests } = happened.value;
  const change = (stored: StoredRecord<Checkpoint>): RecordChange<Checkpoint> | undefined => {
    const { receipt } = stored.body;
    if (stored.body.workloadUid !== uid || receipt === undefined) return undefined;
    const renewed = sealReceipt(foldDigests(receipt, digests), sha256);
    if (renewed.digest === receipt.digest) return undefined;
    const { displayName } = stored.body;
    const data = { name: stored.name, workload, displayName, digests, receiptDigest: renewed.digest };
    const updateTime = observation.time ?? stored.time;
    return {
      body: { ...stored.body, receipt: { ...renewed }, updateTime },
      events: [{ aggregate: "checkpoint", happened: "digested", data }],
    };
  };
  return (await store.records.modify(checkpointName(workload, checkpointUid), change)) !== undefined;
}
