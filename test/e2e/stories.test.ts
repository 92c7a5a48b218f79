import test from 'ava';
import { playChat } from '../../src/kpctl/demo/chat-story.ts';
import { playHttp, playSuddenDeath } from '../../src/kpctl/demo/http-story.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('stories', ['deploy/examples/http.yaml', 'deploy/examples/chat.yaml', 'deploy/gateway.yaml'], (line) =>
    t.log(line),
  );
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

test('chat: both peers reach each other whichever dials, and see each half-close', async (t) => {
  await t.notThrowsAsync(playChat({ ...stage, tell: (line) => t.log(line) }));
});

test('http: client, server and dependency in every arrangement', async (t) => {
  await t.notThrowsAsync(playHttp({ ...stage, tell: (line) => t.log(line) }));
});

test('http as an ordinary user', async (t) => {
  await t.notThrowsAsync(playHttp({ ...stage.asOrdinaryUser(), tell: (line) => t.log(line) }));
});

test('sudden death of kpctl: no later connection fails', async (t) => {
  await t.notThrowsAsync(playSuddenDeath({ ...stage, tell: (line) => t.log(line) }));
});
