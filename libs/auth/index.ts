export { authorise, localPrincipal, type Principal, type Verb } from "./authorise.ts";
