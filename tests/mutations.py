#!/usr/bin/env python3
"""Takes one check of the gateway away after the other, and runs the tests of a store that lies: some test must fail each time.

    python3 tests/mutations.py [WORD...]      all, or those whose name has one of the words

Works on a copy below target/mutations. Prints each mutation with the tests that noticed it; ends
with 1 if one went unnoticed. A mutation whose old text is not there exactly once is an error: the list belongs to the code.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
COPY = ROOT / "target/mutations/copy"
# Of its own: cargo takes a copy for the original, and tests would run with what was built for the other.
TARGET = ROOT / "target/mutations/target"

# The tests of a store that lies, and of clients that sign nothing or otherwise.
TESTS = [
    "gateway::lies", "gateway::anonymous", "gateway::forms", "gateway::sub_resources", "gateway::identity", "gateway::hostile",
    "gateway::etags", "gateway::profiles", "gateway::signature_v2", "gateway::versions", "gateway::gc",
    "gateway::multipart::records_in", "gateway::multipart::the_gateways_own_rights", "gateway::multipart::a_state_bucket",
    "gateway::multipart::no_application", "gateway::multipart::a_question", "gateway::reads::a_list_in_no_order", "gateway::reads::a_prefix",
    "gateway::operations::buckets_are_made",
]

# name, file, old text, new text. The tenant's id in the context is not among them: a keyring entry belongs to one tenant, so that the
# key of another is refused before. Nor is that a redirect is not followed: nothing in the client could follow one.
# Nor is that a trailer is that of its header (check_header): a store can show only a trailer that opens under the header's data key, and
# each data key is drawn for one write, whose trailers (of an upload one for each Complete) all fit its header. Only who holds the key
# could make another, so tests of the format hold it.
MUTATIONS = [
    ("the header's tag", "src/format/envelope.rs", "if !bool::from(keys.tag(context, signed).ct_eq(tag)) {", "if false {"),
    ("the binding to the bucket", "src/format/context.rs", "push_lp(&mut out, bucket.as_bytes());", "let _ = bucket; push_lp(&mut out, b\"any\");"),
    ("the binding to the key", "src/format/context.rs", "push_lp(&mut out, key);", "let _ = key; push_lp(&mut out, b\"any\");"),
    ("the binding to the upload", "src/format/context.rs", "push_lp(&mut context.0, upload_id.as_bytes());", "let _ = (&mut context, upload_id);"),
    ("F(P): the object's length", "src/format/layout.rs", "if geometry::object_len(plain) != Some(total) {", "if false {"),
    ("zeros in the padding", "src/format/open.rs", "                check_zero(piece)?;\n                self.padding(offset", "                self.padding(offset"),
    ("a part's salt", "src/format/open.rs", "if head.salt != id.salt {", "if false {"),
    ("a part's number", "src/format/open.rs", "if head.part_no != placed.id.part_no {", "if false {"),
    ("a part's length", "src/format/open.rs", "if head.p != placed.id.p {", "if false {"),
    ("a part's commitment", "src/format/open.rs", "if !self.opener.as_ref().is_some_and(|opener| opener.commits_to(&head.commitment)) {", "if false {"),
    ("a part's magic", "src/format/parts.rs", "if cursor.array().ok_or(SHORT)? != *MAGIC {", "if cursor.array().ok_or(SHORT)? != *MAGIC && false {"),
    ("zeros before the tail of a simple object", "src/format/open.rs", "        check_zero(zeros)?;\n", "        let _ = zeros;\n"),
    ("the hold-back of the last chunk", "src/gateway/pump.rs", "out.send(std::mem::replace(&mut held_back, text)).await;", "out.send(text).await;"),
    ("small objects whole before the status", "src/gateway/read.rs", "let held = (len <= limit).then(", "let held = (len <= limit && len > u64::MAX - 1).then("),
    ("the range of an answer to a simple object", "src/gateway/read.rs", "        Ok(())\n    } else {\n        Err(wrong())\n    }", "        Ok(())\n    } else {\n        Ok(())\n    }"),
    ("the range of a later answer", "src/gateway/upstream.rs", "if shape.total != total || shape.start != range.start() || shape.end != range.end() {", "if false {"),
    ("Content-Range against Content-Length", "src/gateway/upstream.rs", "if start >= end || end > total || end - start != len {", "if start >= end || end > total {"),
    ("one envelope only", "src/gateway/headers.rs", "    if values.next().is_some() {\n        return Err(Failure::integrity(\"the envelope stands twice\"));", "    if false {\n        return Err(Failure::integrity(\"the envelope stands twice\"));"),
    ("HEAD is no range", "src/gateway/read.rs", "if opening.shape.start != 0 || opening.shape.end != opening.shape.total {", "if false {"),
    ("a denied range is asked again", "src/gateway/read.rs", "the object is\n                Err(failure) if failure.code() == ErrorCode::InvalidRange => {", "the object is\n                Err(failure) if failure.code() == ErrorCode::InvalidRange && read.part_number.is_some() => {"),
    ("a read that begins anew", "src/gateway/read.rs", "Err(failure) if failure.code() == ErrorCode::OperationAborted => {}", "Err(failure) if failure.code() == ErrorCode::OperationAborted && false => {}"),
    ("another version is no verdict on a condition", "src/gateway/upstream.rs", "ErrorCode::PreconditionFailed | ErrorCode::NoSuchKey => ErrorCode::OperationAborted.into(),", "ErrorCode::PreconditionFailed | ErrorCode::NoSuchKey if false => ErrorCode::OperationAborted.into(),"),
    ("the content type is not the store's", "src/gateway/headers.rs", "    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(\"binary/octet-stream\"));\n    for field", "    for field"),
    ("content headers are not the store's", "src/gateway/headers.rs", "    \"last-modified\",\n", "    \"last-modified\",\n    \"content-encoding\",\n    \"cache-control\",\n    \"content-disposition\",\n"),
    ("our credentials are not the client's", "src/store/error.rs", "if OUR_CREDENTIALS.contains(&code) {", "if false {"),
    ("the completed object's tail", "src/gateway/multipart/complete.rs", "Ok(tail) if tail.opened.trailer() == trailer => Ok(etag),", "Ok(_) => Ok(etag),"),
    ("an upload id given twice", "src/gateway/multipart/mod.rs", "            request.headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(\"*\"));\n", ""),
    ("a salt for each attempt", "src/gateway/multipart/parts.rs", "let salt: FreshSalt = self.core.random.draw_fresh(self.core.now(), b\"part salt\")?;", "let salt: FreshSalt = crate::crypto::random::Fresh::danger_from_bytes([7; 24]);"),
    ("an ETag that was issued for its part", "src/gateway/multipart/complete.rs", "if etag != part.etag {", "if false {"),
    ("the copied object's tail", "src/gateway/copy.rs", "match tails::read(&copied, envelope, opening.shape.total).await {", "match Ok::<_, Failure>(copied) {"),
    ("a copy is of the body that its header is of", "src/gateway/copy.rs", "        to_store.insert(HeaderName::from_static(\"x-amz-copy-source-if-match\"), value(&quoted(&etag))?);\n", "        let _ = quoted(&etag);\n"),
    ("a staged part's number", "src/gateway/multipart/complete.rs", "if head.part_no != proved.number.get() || head.p != proved.p", "if head.p != proved.p"),
    ("a staged part's length", "src/gateway/multipart/complete.rs", " || head.p != proved.p || (is_pinned", " || (is_pinned"),
    ("a staged part's salt", "src/gateway/multipart/complete.rs", " || (is_pinned && head.salt != proved.salt) {", " || (is_pinned && false) {"),
    ("the MAC of a part's ETag", "src/format/parts.rs", "if self.p > MAX_PART_LEN || !bool::from(attempt.mac(dek).ct_eq(&self.mac)) {", "if self.p > MAX_PART_LEN {"),
    ("a staged part's ETag", "src/gateway/multipart/complete.rs", "if upstream_etag(&answer.headers).as_deref() != Some(proved.upstream_etag.as_str()) {", "if false {"),
    ("an error within a 200 of Complete", "src/gateway/multipart/complete.rs", "XmlAnswer::Failed(error) => Err(error_in_200(&error).into()),", "XmlAnswer::Failed(_) => Ok((None, out)),"),
    ("our verdicts are not the store's to speak", "src/gateway/error.rs", "refused.code.filter(|code| !code.is_ours())", "refused.code"),
    ("a redirect is no refusal", "src/store/error.rs", "if status.is_redirection() && status != StatusCode::NOT_MODIFIED {", "if false {"),
    ("the alert of a redirect", "src/gateway/error.rs", ".alerting(\"upstream_redirect\")", ""),
    ("the first answer's ETag holds", "src/gateway/upstream.rs", "                    headers.insert(header::IF_MATCH, value);\n", "                    let _ = value;\n"),
    ("leak: the content type", "src/gateway/write.rs", "        headers.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);\n", "        let _ = CIPHERTEXT_TYPE;\n        if let Some(value) = self.accepted.headers.get(header::CONTENT_TYPE) {\n            headers.insert(header::CONTENT_TYPE, value.clone());\n        }\n"),
    ("leak: user metadata", "src/gateway/headers.rs", "if name.as_str().starts_with(\"x-amz-\") && amz_header_use(name.as_str()) == Some(HeaderUse::Forwarded) {", "if name.as_str().starts_with(\"x-amz-meta-\") || amz_header_use(name.as_str()) == Some(HeaderUse::Forwarded) {"),
    ("leak: a checksum", "src/gateway/headers.rs", "if name.as_str().starts_with(\"x-amz-\") && amz_header_use(name.as_str()) == Some(HeaderUse::Forwarded) {", "if name.as_str().starts_with(\"x-amz-checksum-\") || amz_header_use(name.as_str()) == Some(HeaderUse::Forwarded) {"),
    ("a bucket's word on requests without a signature", "src/gateway/policy.rs", "if caller.is_anonymous && !is_let_in() {", "if caller.is_anonymous && !is_let_in() && false {"),
    ("a form's policy", "src/gateway/form.rs", "                policy.check(&fields, bucket.as_str(), now)?;\n", "                let _ = (&policy, &fields);\n"),
    ("a field behind a form's file", "src/gateway/form.rs", "if found.is_some() && self.left > 0 || self.left == 0", "if self.left == 0"),
    ("a document is plain", "src/gateway/sub_resource.rs", "if !is_readable(request.resource, &document.bytes) && !is_empty", "if false"),
    ("own keys in lists", "src/gateway/list.rs", "    entries.retain(|entry| !is_reserved(P::key(entry).as_bytes()));\n", ""),
    ("a header of a form that is none of a PutObject's", "src/gateway/form.rs", "                if !is_known {", "                if !is_known && false {"),
    ("sizes in lists", "src/gateway/list.rs", "*size = plaintext_len(*size).unwrap_or(*size);", "let _ = plaintext_len(*size);"),
    ("half of a store's places for who does not sign", "src/store/mod.rs", "if is_signed { None } else {", "if is_signed || true { None } else {"),
    ("the verdict on a page is of its own method", "src/gateway/exchange.rs", "request.method.as_str() == self.method\n", "true\n"),
    ("pages of origins that the configuration admits", "src/gateway/cors.rs", "        fits.peek()?;\n", "        if fits.peek().is_none() { return Some(Admitted::ByName); }\n"),
    ("half of the memory for who does not sign", "src/gateway/mod.rs", "if exchange.is_signed() { &self.budget } else { &self.unsigned_budget }", "let _ = (exchange, &self.unsigned_budget); &self.budget"),
    ("the right to write before a form's file", "src/gateway/form.rs", "        self.policy.place_of(caller, bucket, &object.key, Right::Write)?;\n", "        let _ = Right::Write;\n"),
    ("a document takes its memory", "src/gateway/mod.rs", "self.core.reserve(self.exchange, len.saturating_mul(2)).await?", "self.core.reserve(self.exchange, len.min(1)).await?"),
    ("headers that stores read otherwise", "src/gateway/mod.rs", "        headers::check_forwarded(&accepted.headers)?;\n", ""),
    ("documents that others read otherwise", "src/gateway/sub_resource.rs", "if !document.is_empty() && !is_readable(request.resource, &document) {", "if false {"),
    ("keys that lead out of a bucket", "src/gateway/policy.rs", "            b\"..\" => drop(segments.pop()?),\n", "            b\"..\" => drop(segments.pop()),\n"),
    ("keys that lead into the gateway's own", "src/gateway/policy.rs", "Some(key) if is_reserved(&key) => Err(reserved()),", "Some(key) if is_reserved(&key) && false => Err(reserved()),"),
    ("a condition of a write by an MD5", "src/gateway/write.rs", "(WriteCondition::IfMatch(_), Some((stored, _))) if is_named => WriteCondition::IfMatch(stored),", "(WriteCondition::IfMatch(_), Some((stored, _))) => WriteCondition::IfMatch(stored),"),
    ("a condition of a read by an MD5", "src/gateway/read.rs", "            Verdict::PreconditionFailed => Err(ErrorCode::PreconditionFailed.into()),\n", "            Verdict::PreconditionFailed => Ok(()),\n"),
    ("who writes by an MD5 may read", "src/gateway/write.rs", "        self.core.policy.place_of(self.caller, &place.bucket, key, Right::Read)?;\n", ""),
    ("parts of one length", "src/gateway/multipart/complete.rs", "            check_equal(&parts)?;\n", "            let _ = check_equal(&parts);\n"),
    ("credentials before a place", "src/store/mod.rs", "        self.ready(identity).await?;\n", ""),
    ("destinations are named where the configuration says so", "src/gateway/sub_resource.rs", "            && !place.rule.destinations\n", "            && false\n"),
    ("issued credentials that have ended", "src/store/identity.rs", "if issued.holds(now) { Ok(issued) } else { Err(IssueError::Answer) }", "Ok(issued)"),
    ("version 2: who may sign by it", "src/ingress/mod.rs", "if !self.by_version_2.contains(&verified.0) {", "if false {"),
    ("version 2: what is not signed", "src/sigv2.rs", "} else if !PAGES.contains(&name)", "} else if false && !PAGES.contains(&name)"),
    ("version 2: an expired link", "src/sigv2.rs", "if now.unix_millis() / 1000 >= seconds { Err", "if false { let _ = (now, seconds); Err"),
    ("version 2: headers in the query", "src/sigv2.rs", "request.headers.iter().chain(in_query)", "request.headers.iter().chain(in_query.take(0))"),
    ("a preflight request is its URL's signer's", "src/ingress/mod.rs", "            (self.asks_about_presigned(&view, &query, bucket()?.as_deref(), now), None)", "            (self.asks_about_presigned(&view, &query, bucket()?.as_deref(), now).filter(|_| false), None)"),
    ("versions: another one than was asked for", "src/gateway/read.rs", "&& told.as_bytes() != asked.as_bytes()", "&& false"),
    ("versions: the last page names no next one", "src/gateway/list.rs", "            if !page.is_truncated() {\n                page.set_next(None);", "            if false {\n                page.set_next(None);"),
    ("versions: a page that ends among the gateway's keys", "src/gateway/list.rs", "        next.or_else(|| entries", "        None.or_else(|| entries"),
    ("versions: DeleteObjects answers nothing of the gateway's", "src/gateway/delete.rs", "        result.deleted.retain(|object| !is_reserved(object.key.as_bytes()));\n", ""),
    ("versions: a source's marker is not the copy's", "src/gateway/copy.rs", "            failure.validators.clear();\n", ""),
    ("dots: an id of its own", "src/gateway/settings.rs", "    (rest.replace('-', \"--\").replace('.', \"-0\") + \"-\").into()", "    rest.replace('.', \"-0\").into()"),
    ("state bucket: who may write a part", "src/gateway/multipart/parts.rs", "            if Self::speaks_for_another(place) {\n                self.may_write(", "            if false {\n                self.may_write("),
    ("state bucket: gone is the caller's word", "src/gateway/multipart/mod.rs", "            && !Self::speaks_for_another(&place);", ";"),
    ("state bucket: gone is the caller's word to Complete", "src/gateway/multipart/complete.rs", "        if !Self::speaks_for_another(place) {\n            self.clear(", "        {\n            self.clear("),
    ("state bucket: what it refuses", "src/gateway/multipart/mod.rs", "        if place.rule.state_bucket.is_none() {\n            return error.into();", "        if true {\n            return error.into();"),
    ("state bucket: no application reaches it", "src/gateway/policy.rs", "        if self.is_own_bucket(upstream, &names.upstream_name) {", "        if false {"),
    ("state bucket: gc asks as who began it", "src/jobs/gc.rs", "Some((_, issuer)) => Identity::Of(issuer),", "Some(_) => Identity::Own,"),
    ("state bucket: a question about a part judges no page", "src/gateway/multipart/parts.rs", "self.exchange.send_apart(&place.upstream, request)", "self.exchange.send(&place.upstream, request)"),
    ("unsigned: a body waits for the store", "src/net/client.rs", "if request.headers().contains_key(header::EXPECT) {", "if false {"),
    ("unsigned: an answered body waits for good", "src/net/client.rs", "Poll::Ready(asked) => asked.is_ok(),", "Poll::Ready(_) => true,"),
    ("unsigned: a short body waits too", "src/gateway/write.rs", "len <= place.rule.verify_whole && !self.waits_for_store()", "len <= place.rule.verify_whole"),
    ("unsigned: lists show what is open", "src/gateway/policy.rs", "        if caller.is_anonymous && !is_let_in() {", "        if false {"),
    ("no order: nothing of the gateway's", "src/gateway/list.rs", "            page.contents.retain(|object| !is_reserved(object.key.as_bytes()));\n            page.common", "            page.common"),
    ("no order: for Ceph alone", "src/gateway/list.rs", "            (true, Profile::Ceph) =>", "            (true, _) if listing.unordered =>"),
    ("a prefix in the store's words", "src/gateway/list.rs", "        self.prefix_as_text.take_if(|text| *text != listing.prefix);\n", ""),
]


def sh(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout


def main():
    wanted = sys.argv[1:]
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.parent.mkdir(parents=True, exist_ok=True)
    sh("git", "clone", "-q", "--shared", str(ROOT), str(COPY))
    for name, file, old, _ in MUTATIONS:
        count = (COPY / file).read_text().count(old)
        if count != 1:
            sys.exit(f"{name}: the old text stands {count} times in {file}")
    unnoticed = []
    baseline = run()
    if baseline[0] != "passed":
        sys.exit(f"without a mutation: {baseline}")
    print("without a mutation all tests pass", flush=True)
    for name, file, old, new in MUTATIONS:
        if wanted and not any(word in name for word in wanted):
            continue
        path = COPY / file
        text = path.read_text()
        path.write_text(text.replace(old, new))
        begun = time.time()
        outcome, tests = run()
        path.write_text(text)
        print(f"{name}: {outcome}{': ' if tests else ''}{', '.join(tests)} ({time.time() - begun:.0f} s)", flush=True)
        if outcome != "noticed":
            unnoticed.append(name)
    print(f"unnoticed: {', '.join(unnoticed) or 'none'}")
    sys.exit(bool(unnoticed))


def run():
    words = ["cargo", "test", "--quiet", "--test", "it", "--", *TESTS]
    environment = {"CARGO_TARGET_DIR": str(TARGET)}
    done = subprocess.run(words, cwd=COPY, capture_output=True, text=True, env={**os.environ, **environment}, timeout=1800)
    if "could not compile" in done.stderr:
        return "DOES NOT COMPILE", [line for line in done.stderr.splitlines() if line.startswith("error")][:3]
    failed = sorted(set(re.findall(r"^    gateway::(?:\w+)::(\w+)$", done.stdout, re.M)))
    return ("noticed", failed) if done.returncode else ("passed", [])


main()
