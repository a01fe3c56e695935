import type { Clock, Random } from "#libs/clock";
import type { Json } from "#libs/records";
import type { AcceptRequest, TargetWrite } from "./accept-request.ts";
import { fingerprintOf } from "./operation-id.ts";
import type { Acquire, OperationRecord } from "./operation-record.ts";

/** The first state of what is asked for: pending. */
export function newOperation<Body>(
  id: string,
  request: AcceptRequest,
  write: TargetWrite<Body>,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): OperationRecord {
  const { kind, target, principal, project, input, traceparent } = request;
  const now = clock.now().toISOString();
  return {
    ...{ id, kind, target, principal, project, input },
    ...(traceparent === undefined ? {} : { traceparent }),
    fingerprint: fingerprintOf(request),
    createTime: now,
    updateTime: now,
    state: "pending",
    phase: "steps",
    step: "",
    attempt: 0,
    skipped: [],
    outputs: {},
    ...(target === "" || "hold" in write ? {} : { acquire: acquireOf(write) }),
    write: random.id("accept"),
  };
}

function acquireOf<Body>(write: TargetWrite<Body>): Acquire {
  if (!("create" in write)) return {};
  const { uid, body, events = [] } = write.create;
  const json = (write.codec === undefined ? body : write.codec.toJSON(body)) as Json;
  const { existsReason } = write;
  return { create: { uid, body: json, events }, ...(existsReason === undefined ? {} : { existsReason }) };
}
