export { failpoint, setFailpoints } from "./failpoint.ts";
