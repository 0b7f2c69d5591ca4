"""GET /version and /info (page section 2.3)."""


async def test_version_tells_ours_and_the_language(ask):
    answer = await ask("GET", "/v1.2/version")
    assert answer.body == b'{"Version":"0.1.0","GitCommit":"abc1234","GoVersion":"python3.11.2"}'
    assert answer.headers == {"Content-Type": "application/json"}


async def test_info_has_the_keys_of_the_page_in_its_order_and_false_ones_too(ask):
    answer = await ask("GET", "/info")
    assert answer.body == (
        b'{"Containers":11,"Images":16,"Debug":false,"NFd":11,"NGoroutines":21,"MemoryLimit":true,"SwapLimit":false}'
    )
