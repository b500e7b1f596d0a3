use super::*;

#[test]
fn the_id_of_an_answer_comes_first() {
    let id: ZeekString = "a\"\u{e9}".into();
    let configuration = ConfigurationFile {
        id: id.clone(),
        ..ConfigurationFile::default()
    };
    let mut deployment = Deployment::default();
    deployment.summary.id = "a\"\u{e9}".to_owned();
    for json in [
        serde_json::to_vec(&configuration),
        serde_json::to_vec(&deployment),
    ] {
        assert_eq!(id_of(&Answer(json.unwrap().into())).unwrap(), id);
    }
    assert!(id_of(&Answer(Bytes::from_static(b"{}"))).is_err());
}
