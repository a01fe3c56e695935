import { type DrainHostRequest, Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { parseHostName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { CallScope } from "#libs/rpc";

export const drainKind = "host.drain";

/** Accepts the job that empties a host; it holds the host's record from here on. */
export async function acceptDrain(
  operations: Pick<Operations, "accept">,
  { name, requestId }: DrainHostRequest,
  { principal, traceparent }: CallScope,
) {
  parseHostName(name);
  const asked = { kind: drainKind, target: name, input: {}, principal: principal.name, project: "", requestId };
  return operations.accept<Host>(
    { ...asked, ...(traceparent === undefined ? {} : { traceparent }) },
    {
      codec: Host,
      missingReason: "HOST_NOT_FOUND",
      expect({ body }) {
        if (body.state !== HostState.DOWN) return;
        throw new StillpointError("HOST_UNREACHABLE", `${name} is down: nothing on it can be asked to stop`);
      },
      change: ({ body }) => ({
        body: { ...body, cordoned: true, draining: true, state: HostState.DRAINING },
        events: [{ aggregate: "host", happened: "draining", data: {} }],
      }),
    },
  );
}
