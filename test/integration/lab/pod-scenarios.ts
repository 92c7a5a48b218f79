import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../../../src/lab/index.ts';
import { openLab, until } from './scenarios.ts';

function isReady(lab: Lab, name: string): boolean {
  return lab.store.pods.get('default', name)?.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

/** A container's log, once it has such a line: a container runs before its program has printed. */
async function printed(lab: Lab, pod: string, container: string, line: RegExp): Promise<string> {
  const late = Date.now() + 20_000;
  for (;;) {
    const log = await lab.logs('default', pod, container);
    if (line.test(log)) return log;
    assert.ok(Date.now() < late, `${container} printed ${log}`);
    await sleep(20);
  }
}

/** What an ordinary user's namespace lacks: more ids than one. */
const manyIds = readFileSync('/proc/self/gid_map', 'latin1').trim().split(/\s+/u)[2] !== '1';

/** What is in a pod beyond its containers. */
export const podScenarios: Readonly<Record<string, () => Promise<void>>> = {
  async volumes() {
    await using lab = await openLab();
    await lab.apply(`
apiVersion: v1
kind: Pod
metadata: { name: shared }
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{ name: notes, emptyDir: {} }, { name: other, emptyDir: {} }]
  initContainers:
    - { name: writer, image: "lab/sh:dev", args: ["echo kept > /run/notes/file"], volumeMounts: [{ name: notes, mountPath: /run/notes }] }
  containers:
    - { name: reader, image: "lab/sh:dev", args: ["cat /run/read/file; ls /run/notes; echo end; exec sleep 1000"], volumeMounts: [{ name: notes, mountPath: /run/read }, { name: other, mountPath: /run/notes }] }
    - { name: stranger, image: "lab/sh:dev", args: ["ls -A /run/read /run/notes; echo end; exec sleep 1000"] }
---
apiVersion: v1
kind: Pod
metadata: { name: nowhere }
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{ name: notes, emptyDir: {} }]
  containers: [{ name: main, image: "lab/sh:dev", args: ["exec sleep 1000"], volumeMounts: [{ name: notes, mountPath: /kpeering-lab-nowhere }] }]
`);
    await until(lab, () => isReady(lab, 'shared'));
    await until(lab, () => lab.store.pods.get('default', 'nowhere')?.status.containerStatuses[0]?.state.waiting !== undefined);
    assert.equal(await printed(lab, 'shared', 'reader', /end\n/u), 'kept\nend\n');
    assert.ok(!(await printed(lab, 'shared', 'stranger', /end\n/u)).includes('file'));
    assert.match(
      lab.store.pods.get('default', 'nowhere')?.status.containerStatuses[0]?.state.waiting?.message ?? '',
      /cannot mount a volume at \/kpeering-lab-nowhere/u,
    );
    const volumes = (): string[] => readdirSync(join(lab.workspace, 'pods')).filter((name) => name.endsWith('.volumes'));
    assert.ok(volumes().length > 0);
    lab.deletePod('default', 'shared');
    lab.deletePod('default', 'nowhere');
    await until(lab, () => volumes().length === 0);
  },

  async privileges() {
    await using lab = await openLab();
    await lab.apply(`
apiVersion: v1
kind: Pod
metadata: { name: who }
spec:
  terminationGracePeriodSeconds: 0
  securityContext: { runAsGroup: 15300 }
  containers:
    - name: user
      image: lab/sh:dev
      args: ["id -u; id -g; grep -E 'NoNewPrivs|CapEff' /proc/self/status; exec sleep 1000"]
      securityContext: { runAsUser: 15300, allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
    - name: root
      image: lab/sh:dev
      args: ["id -u; id -g; grep -E 'NoNewPrivs|CapEff' /proc/self/status; exec sleep 1000"]
      securityContext: { runAsUser: 0, allowPrivilegeEscalation: false, capabilities: { drop: [ALL], add: [NET_RAW] } }
---
apiVersion: v1
kind: Pod
metadata: { name: refused }
spec: { terminationGracePeriodSeconds: 0, containers: [{ name: main, image: "lab/sh:dev", securityContext: { runAsNonRoot: true } }] }
`);
    await until(lab, () => isReady(lab, 'who'));
    await until(lab, () => lab.store.pods.get('default', 'refused')?.status.containerStatuses[0]?.state.waiting?.message !== undefined);
    assert.match(
      lab.store.pods.get('default', 'refused')?.status.containerStatuses[0]?.state.waiting?.message ?? '',
      /container has runAsNonRoot/u,
    );
    if (!manyIds) return;
    // Beside what was asked for: reading any file (bit 2), as images' files can be read.
    const told = async (name: string): Promise<string[]> => (await printed(lab, 'who', name, /NoNewPrivs:.*\n/u)).trim().split(/\s+/u);
    assert.deepEqual(await told('user'), ['15300', '15300', 'CapEff:', '0000000000000004', 'NoNewPrivs:', '1']);
    assert.deepEqual(await told('root'), ['0', '15300', 'CapEff:', '0000000000002004', 'NoNewPrivs:', '1']);
  },

  async probes() {
    await using lab = await openLab();
    const app = (name: string, argv: string, probe: string): string => `
    - { name: ${name}, image: "lab/examples:dev", args: ${argv}, readinessProbe: { ${probe}, periodSeconds: 1 } }`;
    await lab.apply(`
apiVersion: v1
kind: Pod
metadata: { name: probed }
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
    - { name: side, image: "lab/sh:dev", restartPolicy: Always, args: ["echo side $$; exec sleep 1000"] }
  containers:${app('http', '[server, "8080"]', 'httpGet: { path: /status, port: 8080 }')}${app('tcp', '[dependency, "8081"]', 'tcpSocket: { port: 8081 }')}${app('grpc', '[grpc, "8082"]', 'grpc: { port: 8082, service: any }')}
---
apiVersion: v1
kind: Pod
metadata: { name: silent }
spec:
  terminationGracePeriodSeconds: 0
  containers:${app('http', '[server, "8080"]', 'grpc: { port: 8080 }')}
`);
    await until(lab, () => isReady(lab, 'probed'));
    const changes: boolean[] = [];
    const unsubscribe = lab.store.pods.onChange(({ object }) => {
      if (object.metadata.name === 'probed') changes.push(isReady(lab, 'probed'));
    });
    process.kill(Number(/side (\d+)/u.exec(await printed(lab, 'probed', 'side', /side \d+\n/u))?.[1]), 'SIGKILL');
    await until(lab, () => changes.includes(false) && isReady(lab, 'probed'));
    unsubscribe();
    assert.equal(isReady(lab, 'silent'), false);
  },
};
