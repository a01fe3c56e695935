import { OciError } from "../domain/oci-error.ts";
import type { Late } from "../late.ts";
import { type Access, openAccess } from "./access.ts";
import { certifiedPrincipal } from "./certified-principal.ts";
import type { Auth } from "./open-auth.ts";
import type { TokenEndpoint } from "./token-endpoint.ts";

/** Who gets in as soon as accounts are known; until then whoever shows a certificate. */
export function lateAuth(auth: Late<Auth>): { readonly access: Access; readonly tokenEndpoint: TokenEndpoint } {
  return {
    access: {
      async admit(request, wanted) {
        if (auth.now !== undefined) return await auth.now.access.admit(request, wanted);
        if (certifiedPrincipal(request) !== undefined) return await openAccess.admit(request, wanted);
        throw unknownAccounts();
      },
    },
    async tokenEndpoint(request, response, query) {
      if (auth.now === undefined) throw unknownAccounts();
      await auth.now.tokenEndpoint(request, response, query);
    },
  };
}

function unknownAccounts(): OciError {
  return new OciError("UNAVAILABLE", "accounts are not known yet, since NATS does not answer: try again");
}
