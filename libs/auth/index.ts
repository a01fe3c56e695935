export { authorise, type Grant, localPrincipal, may, type Principal, type Verb } from "./authorise.ts";
export { identityPrincipal } from "./identity-principal.ts";
export { isVoid } from "./void-certificate.ts";
