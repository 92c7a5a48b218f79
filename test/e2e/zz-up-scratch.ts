import { writeFileSync } from 'node:fs';
import { openClusterStage } from './cluster-stage.ts';
import { openLaptop } from './laptop.ts';
const stage = await openClusterStage('up-scratch', [], console.log);
const laptop = await openLaptop(stage);
const env = (e: NodeJS.ProcessEnv) => Object.entries(e).map(([k, v]) => `${k}='${v}'`).join(' ');
for (const seat of ['user', 'root', 'container'] as const)
  writeFileSync(`/tmp/upwork/${seat}`, `#!/bin/sh\nexec env -i ${env(laptop[seat].environment)} ${laptop[seat].prefix.join(' ').replace(containerQuirk(), '')} "$@"\n`, { mode: 0o755 });
writeFileSync('/tmp/upwork/kpctl', laptop.kpctl.join(' '));
writeFileSync('/tmp/upwork/namespace', stage.namespace);
function containerQuirk() { return /unshare --mount sh -c [^]*$/; }
console.log('ready');
process.stdin.resume();
await new Promise((resolve) => { process.once('SIGTERM', resolve); process.once('SIGINT', resolve); });
await laptop[Symbol.asyncDispose]();
await stage[Symbol.asyncDispose]();
process.exit(0);
