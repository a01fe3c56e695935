import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { authorise, localPrincipal, type Principal, type Verb } from "#libs/auth";
import { OciError } from "../domain/oci-error.ts";
import { certifiedPrincipal } from "./certified-principal.ts";

/** What a request is about to do. */
export interface Wanted {
  readonly verb: Verb;
  /** Empty for what belongs to no repository. */
  readonly repository: string;
  /** The upload that it goes on with. */
  readonly uploadId?: string;
  /** The repository that a blob is to be mounted from. */
  readonly mountFrom?: string;
}

/** Finds out who asks, and lets pass whoever may. */
export interface Access {
  /**
   * Gives who asks. Whoever may not read learns that there is no such repository, whether there is one or not.
   * @throws OciError UNAUTHORIZED (with a challenge), DENIED, NAME_UNKNOWN, TOOMANYREQUESTS
   */
  admit(request: IncomingMessage, wanted: Wanted): Promise<Principal>;
}

/** REGISTRY_AUTH=none: whoever reaches loopback is the local principal; over TLS a certificate is needed. */
export const openAccess: Access = {
  async admit(request, { verb, repository }) {
    const principal = request.socket instanceof TLSSocket ? certifiedPrincipal(request) : localPrincipal;
    if (principal === undefined) throw new OciError("UNAUTHORIZED", "a certificate is needed");
    if (repository !== "") authorise(principal, verb, `repositories/${repository}`);
    return principal;
  },
};
