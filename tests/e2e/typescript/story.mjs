// The whole story through the official TypeScript client: what each person does, and what each then sees.
// Usage: node story.mjs SERVICE_URL IMAGE_FILE OPS_URL. Prints one line a step and exits non-zero at the first surprise.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { AtpAgent, RichText } from '@atproto/api'

const [service, imageFile, ops] = process.argv.slice(2)
const image = readFileSync(imageFile)

const step = (text) => console.log(`ok ${text}`)

// A writer sees its own write at once; before somebody else looks, the views have to have passed it.
async function settled() {
  while ((await (await fetch(`${ops}/status`)).json()).views.behind > 0);
}

async function join(name) {
  const agent = new AtpAgent({ service })
  await agent.createAccount({ handle: `${name}.test`, email: `${name}@example.com`, password: `${name}-password` })
  return agent
}

const status = async (promise) => promise.then(() => 200, (error) => error.status)

const [alice, bob, carol] = [await join('ts-alice'), await join('ts-bob'), await join('ts-carol')]
step('three accounts')

const avatar = await alice.uploadBlob(image, { encoding: 'image/jpeg' })
await alice.upsertProfile(() => ({ displayName: 'Alice of the mill', description: 'Water first.', avatar: avatar.data.blob }))
await settled()
const profile = await bob.getProfile({ actor: 'ts-alice.test' })
assert.equal(profile.data.displayName, 'Alice of the mill')
assert.ok(profile.data.avatar.includes(avatar.data.blob.ref.toString()))
const served = await fetch(profile.data.avatar)
assert.equal(served.status, 200)
assert.deepEqual(Buffer.from(await served.arrayBuffer()), image)
step('a profile with an avatar')

await bob.follow(alice.did)
await carol.follow(alice.did)
await carol.follow(bob.did)
await settled()
assert.equal((await carol.getProfile({ actor: alice.did })).data.followersCount, 2)
assert.deepEqual((await alice.getFollowers({ actor: alice.did })).data.followers.map((f) => f.handle).sort(), ['ts-bob.test', 'ts-carol.test'])
assert.deepEqual((await carol.getFollows({ actor: carol.did })).data.follows.map((f) => f.did).sort(), [alice.did, bob.did].sort())
step('follows, and who follows whom')

const picture = await alice.uploadBlob(image, { encoding: 'image/jpeg' })
const rich = new RichText({ text: 'The river is up. @ts-bob.test see https://example.com' })
await rich.detectFacets(alice)
const post = await alice.post({
  text: rich.text,
  facets: rich.facets,
  langs: ['en'],
  embed: { $type: 'app.bsky.embed.images', images: [{ alt: 'a key', image: picture.data.blob }] },
})
const reply = await bob.post({ text: 'So it is.', reply: { root: post, parent: post } })
const quote = await carol.post({ text: 'Look at this', embed: { $type: 'app.bsky.embed.record', record: post } })
const like = await bob.like(post.uri, post.cid)
await carol.like(post.uri, post.cid)
await carol.repost(post.uri, post.cid)
step('a post with an image and a mention, a reply, a quote, likes and a repost')

await settled()
const thread = await carol.getPostThread({ uri: post.uri })
assert.equal(thread.data.thread.post.likeCount, 2)
assert.equal(thread.data.thread.post.repostCount, 1)
assert.equal(thread.data.thread.post.replyCount, 1)
assert.equal(thread.data.thread.post.quoteCount, 1)
assert.equal(thread.data.thread.replies[0].post.uri, reply.uri)
assert.ok(thread.data.thread.post.viewer.like)
assert.ok(thread.data.thread.post.viewer.repost)
assert.equal(thread.data.thread.post.embed.$type, 'app.bsky.embed.images#view')
assert.equal((await carol.getPostThread({ uri: reply.uri })).data.thread.parent.post.uri, post.uri)
step('the thread, with counts, viewer state and the image')

const timeline = await bob.getTimeline()
assert.deepEqual(timeline.data.feed.map((item) => item.post.uri), [reply.uri, post.uri])
assert.equal(timeline.data.feed[1].post.viewer.like, like.uri)
const carols = await carol.getTimeline({ limit: 2 })
assert.equal(carols.data.feed.length, 2)
const rest = await carol.getTimeline({ limit: 10, cursor: carols.data.cursor })
const seen = [...carols.data.feed, ...rest.data.feed].map((item) => item.post.uri)
assert.deepEqual(new Set(seen), new Set([post.uri, reply.uri, quote.uri]))
const reposted = [...carols.data.feed, ...rest.data.feed].find((item) => item.reason)
assert.equal(reposted.reason.by.did, carol.did)
step('timelines, page by page')

assert.equal((await alice.getLikes({ uri: post.uri })).data.likes.length, 2)
assert.equal((await alice.getRepostedBy({ uri: post.uri })).data.repostedBy[0].did, carol.did)
assert.equal((await alice.getPosts({ uris: [post.uri, quote.uri] })).data.posts.length, 2)
const quoted = (await alice.getPosts({ uris: [quote.uri] })).data.posts[0]
assert.equal(quoted.embed.record.uri, post.uri)
assert.equal(quoted.embed.record.author.did, alice.did)
assert.equal((await alice.getAuthorFeed({ actor: bob.did, filter: 'posts_no_replies' })).data.feed.length, 0)
assert.equal((await alice.getAuthorFeed({ actor: alice.did, filter: 'posts_with_media' })).data.feed[0].post.uri, post.uri)
const found = await alice.app.bsky.actor.searchActorsTypeahead({ q: 'ts-ca' })
assert.deepEqual(found.data.actors.map((actor) => actor.did), [carol.did])
step('likes, reposts, quotes, author feeds and typeahead')

await bob.deleteLike(like.uri)
await carol.deletePost(quote.uri)
await settled()
const after = (await carol.getPosts({ uris: [post.uri] })).data.posts[0]
assert.deepEqual([after.likeCount, after.quoteCount], [1, 0])
step('an undone like and a deleted quote are gone from the counts')

const block = await alice.app.bsky.graph.block.create({ repo: alice.did }, { subject: carol.did, createdAt: new Date().toISOString() })
await settled()
assert.equal((await carol.getProfile({ actor: alice.did })).data.viewer.blockedBy, true)
assert.equal((await carol.getTimeline()).data.feed.some((item) => item.post.author.did === alice.did), false)
assert.equal((await carol.getPostThread({ uri: post.uri })).data.thread.$type, 'app.bsky.feed.defs#blockedPost')
assert.equal((await alice.app.bsky.graph.getBlocks()).data.blocks[0].did, carol.did)
await alice.app.bsky.graph.block.delete({ repo: alice.did, rkey: block.uri.split('/').pop() })
await settled()
assert.equal((await carol.getTimeline()).data.feed.some((item) => item.post.author.did === alice.did), true)
step('a block hides both ways, and lifting it restores')

await bob.deletePost(reply.uri)
await settled()
assert.equal((await carol.getPostThread({ uri: post.uri })).data.thread.replies.length, 0)
assert.equal(await status(carol.getPostThread({ uri: reply.uri })), 400)
await alice.deletePost(post.uri)
await settled()
assert.equal((await bob.getTimeline()).data.feed.length, 0)
assert.equal(await status(bob.com.atproto.repo.getRecord({ repo: alice.did, collection: 'app.bsky.feed.post', rkey: post.uri.split('/').pop() })), 400)
step('deleted posts are gone')

const session = bob.session
const again = new AtpAgent({ service })
await again.resumeSession(session)
assert.equal((await again.com.atproto.server.getSession()).data.handle, 'ts-bob.test')
await again.logout()
assert.notEqual(await status(again.com.atproto.server.getSession()), 200)
step('a session is resumed and ended')
