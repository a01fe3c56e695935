import { HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { isVoid } from "#libs/auth";
import { identityName } from "#libs/names";
import { type Log, RecordView } from "#libs/records";
import { OciError } from "../domain/oci-error.ts";
import type { Late } from "../late.ts";
import type { Access } from "./access.ts";
import { certifiedPrincipal, certifiedSince } from "./certified-principal.ts";

/** Who may be which host, as the scheduler has written it. */
export type HostIdentities = Pick<RecordView<HostIdentity>, "get">;

export const openHostIdentities = (log: Log, signal: AbortSignal): Promise<HostIdentities> =>
  RecordView.start({ log, signal, lean: true, filter: "rec.hosts.*.identity", codec: HostIdentity });

/** As `access`, but for hosts that were forgotten after their certificate was made; as soon as it is known who they are. */
export function withoutForgotten(access: Access, identities: Late<HostIdentities> | undefined): Access {
  if (identities === undefined) return access;
  return {
    async admit(request, wanted) {
      const who = certifiedPrincipal(request);
      if (who?.kind === "host") {
        const identity = identities.now?.get(identityName(who.name.replace("host/", "hosts/")))?.body;
        if (isVoid(identity, certifiedSince(request))) throw new OciError("UNAUTHORIZED", "the host was forgotten");
      }
      return await access.admit(request, wanted);
    },
  };
}
