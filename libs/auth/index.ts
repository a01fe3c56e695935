export { authorise, localPrincipal, type Principal, type Verb } from "./authorise.ts";
export { identityPrincipal } from "./identity-principal.ts";
